-- The help desk of site N: another vendor, another taste.
pragma journal_mode = wal;

create table tickets (
  ticket       text not null primary key,
  subject      text not null,
  escalation   text
) strict;

create table ticket_comments (
  id           integer primary key autoincrement,
  ticket       text not null references tickets (ticket),
  no           integer not null,
  body         text not null,
  author       text not null,
  is_internal  integer not null default 0 check (is_internal in (0, 1)),
  cost_centre  text not null,
  hourly_rate  text,
  unique (ticket, no)
) strict;

insert into tickets values ('ABC', 'ABC: printers, again', 'Dr. Oleander 555-0199');
insert into tickets values ('XYZ', 'XYZ: billing', null);

insert into ticket_comments (ticket, no, body, author, is_internal, cost_centre, hourly_rate) values
  ('XYZ', 1, 'their password is Tangerine-42', 'nils', 1, 'CC-7731-FALCON', 'EUR 187.35');
