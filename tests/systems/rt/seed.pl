# A queue and three tickets with public notes, a confidential one, a change without text, and a reply with an attached
# file, which RT keeps as several rows: all through RT's own API.
use strict; use warnings; use utf8;
use RT; RT::LoadConfig(); RT::Init();
use RT::Ticket; use RT::Queue; use RT::User; use Encode; use MIME::Entity;

sub ok { my ($id, $said) = @_; die $said unless $id; return $id }

my $queue = RT::Queue->new(RT->SystemUser);
ok($queue->Create(Name => 'Helpdesk'));
for my $name (qw(alice bridge)) {
    my $user = RT::User->new(RT->SystemUser);
    ok($user->Create(Name => $name, EmailAddress => "$name\@a.example", Privileged => 1, RealName => ucfirst $name));
    ok($user->PrincipalObj->GrantRight(Right => $_, Object => $queue))
        for qw(SeeQueue ShowTicket CreateTicket ReplyToTicket CommentOnTicket ShowTicketComments ModifyTicket OwnTicket);
}
# Who asked may see the ticket, and not the comments.
ok($queue->RoleGroup('Requestor')->PrincipalObj->GrantRight(Right => $_, Object => $queue)) for qw(SeeQueue ShowTicket);

my $alice = RT::CurrentUser->new('alice');
sub ticket {
    my ($subject, $text) = @_;
    my $ticket = RT::Ticket->new($alice);
    my ($id, undef, $said) = $ticket->Create(Queue => 'Helpdesk', Subject => $subject, Requestor => 'cust@c.example',
        MIMEObj => MIME::Entity->build(Type => 'text/plain; charset=UTF-8', Data => [encode_utf8($text)]));
    ok($id, $said);
    return $ticket;
}

my $notebook = ticket('Notebook does not boot', "Customer's notebook stops at the BIOS logo – „Überprüfung“ läuft.\nSecond line.");
my $printer = ticket('Printer prints blank pages', 'New toner, still blank.');
ticket('Internal only ticket', 'Nobody outside should see it');
ok($notebook->Correspond(Content => 'Asked the customer to reseat the memory.'));
ok($notebook->Comment(Content => "INTERNAL: customer's contract has lapsed, bill at 200%."));
ok($notebook->Correspond(Content => "Reseated; now 'beeps' 3x.  Emoji: \x{1F4BB}\x{1F525} and CJK: 日本語"));
ok($notebook->SetStatus('stalled'));
my $mail = MIME::Entity->build(Type => 'multipart/mixed');
my $both = $mail->attach(Type => 'multipart/alternative');
$both->attach(Type => 'text/plain; charset=UTF-8', Data => ["Please see the log\n"]);
$both->attach(Type => 'text/html; charset=UTF-8', Data => ["<p>Please <b>see</b> the log</p>\n"]);
$mail->attach(Type => 'text/plain', Filename => 'log.txt', Data => ["this is a file, not what somebody wrote\n"]);
$mail->attach(Type => 'application/octet-stream', Filename => 'log.bin', Data => ["\x00\x01\x02\xff" x 20], Encoding => 'base64');
ok($notebook->Correspond(MIMEObj => $mail));
ok($printer->Correspond(Content => 'Driver reinstalled.'));
