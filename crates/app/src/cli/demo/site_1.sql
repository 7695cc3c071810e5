-- The help desk of site 1, as one might have grown since 1998.
pragma journal_mode = wal;

create table PROBLEM (
  PROBLEM_ID     varchar(12)   not null primary key,
  TITLE          varchar(80)   not null,
  CUSTOMER       varchar(60)   not null,
  SHARED         integer       not null
);

create table WORK_HISTORY (
  PROBLEM_ID     varchar(12)   not null references PROBLEM (PROBLEM_ID),
  WORK_ID        integer       not null check (WORK_ID > 0),
  WORK_HISTORY   varchar(4000) not null,
  OPERATOR       varchar(30)   not null,
  KIND           char(5)       not null check (KIND in ('work', 'state')),
  VISIBILITY     varchar(8)    not null check (VISIBILITY in ('public', 'internal')),
  CUSTOMER_PHONE varchar(30),
  primary key (PROBLEM_ID, WORK_ID)
);

insert into PROBLEM values ('ABC', 'Printing stops at noon', 'Marigold Aerospace', 1);
insert into PROBLEM values ('XYZ', 'Invoice in dispute', 'Persimmon Shipping', 1);
insert into PROBLEM values ('HR7', 'Badge returned', 'our own people', 0);

insert into WORK_HISTORY values
  ('XYZ', 1, 'offer them 40 percent off, secretly', 'anna', 'work', 'internal', '+49-30-5550-777'),
  ('XYZ', 2, 'waiting for our lawyer', 'anna', 'state', 'public', null),
  ('HR7', 1, 'Walter leaves in March', 'anna', 'work', 'public', null);
