# Answers for the tests what RT itself shows: its API as an agent and as the customer who asked, and its page.
use strict; use warnings; use utf8;
use RT; RT::LoadConfig(); RT::Init();
use RT::Ticket; use RT::Tickets; use RT::Interface::Web::Handler; use Plack::Test; use HTTP::Request::Common; use JSON ();
use RT::EmailParser; use MIME::Entity; use Encode;

open my $file, '<', $ARGV[0] or die "$ARGV[0]: $!";
chomp(my $password = <$file>);
# What RT or a library prints is no answer.
open my $answers, '>&', \*STDOUT or die $!;
open STDOUT, '>&', \*STDERR or die $!;
$answers->autoflush(1);
my $json = JSON->new->utf8->canonical->allow_nonref;
my $web = Plack::Test->create(RT::Interface::Web::Handler->PSGIApp);
my $cookie;

sub page {
    my ($ticket) = @_;
    for (1, 2) {
        my $response = $web->request(GET "http://localhost/Ticket/History.html?id=$ticket",
            Referer => 'http://localhost/', $cookie ? (Cookie => $cookie) : ());
        return $response->decoded_content if $response->code == 200 && $response->decoded_content =~ /data-transaction-id/;
        my $login = $web->request(POST 'http://localhost/NoAuth/Login.html', [user => 'root', pass => $password, next => ''],
            Referer => 'http://localhost/');
        ($cookie) = ($login->header('Set-Cookie') // '') =~ /^([^;]+)/;
    }
    die "the page of ticket $ticket does not show\n";
}

sub ticket {
    my ($who, $id) = @_;
    my $ticket = RT::Ticket->new($who);
    $ticket->Load($id);
    die "there is no ticket $id\n" unless $ticket->Id;
    return $ticket;
}

sub entries {
    my ($who, $id) = @_;
    my ($transactions, @found) = (ticket($who, $id)->Transactions);
    while (my $entry = $transactions->Next) {
        push @found, $entry if $entry->Type =~ /^(Create|Correspond|Comment)$/ && $entry->HasContent;
    }
    return @found;
}

sub alice { RT::CurrentUser->new('alice') }

sub look {
    my ($asked) = @_;
    my %open = map { $_->Id => 1 } entries(RT::CurrentUser->new('cust@c.example'), $asked->{ticket});
    my $page = page($asked->{ticket});
    return [map {
        my $id = $_->Id;
        die "the page does not show $id\n" unless $page =~ /data-transaction-id="$id"/;
        { work => $id + 0, text => $_->Content, public => $open{$id} ? JSON::true : JSON::false, author => $_->CreatorObj->Name }
    } entries(RT->SystemUser, $asked->{ticket})];
}

my %does = (
    # Others may write between two looks; then it is looked again.
    read => sub {
        my ($asked) = @_;
        my $state = sub { join ' ', map { $_->Id . $_->Type } entries(RT->SystemUser, $asked->{ticket}) };
        while (1) {
            my ($before, $seen) = ($state->(), eval { look($asked) });
            my $why = $@;
            return $seen if $seen && $before eq $state->();
            die $why if !$seen && $before eq $state->();
        }
    },
    changed => sub { return ticket(RT->SystemUser, $_[0]->{ticket})->LastUpdatedObj->Unix + 0 },
    has => sub {
        my ($asked) = @_;
        my $found = grep { $_->Content eq $asked->{text} } entries(RT->SystemUser, $asked->{ticket});
        return $found ? JSON::true : JSON::false;
    },
    find => sub {
        my $found = RT::Tickets->new(RT->SystemUser);
        $found->Limit(FIELD => 'Subject', VALUE => $_[0]->{subject});
        my $ticket = $found->First;
        return $ticket ? $ticket->Id + 0 : undef;
    },
    add => sub {
        my ($asked) = @_;
        my $how = $asked->{public} ? 'Correspond' : 'Comment';
        my ($id, $said) = ticket(alice(), $asked->{ticket})->$how(Content => $asked->{text});
        die "$said\n" unless $id;
        return $id + 0;
    },
    # RT has no button for this; its administrators do it in the database, or so.
    publish => sub {
        my ($asked) = @_;
        my $entry = RT::Transaction->new(RT->SystemUser);
        $entry->Load($asked->{work});
        my ($done, $said) = $entry->__Set(Field => 'Type', Value => 'Correspond');
        die "$said\n" unless $done;
        return $asked->{work};
    },
    new_ticket => sub {
        my ($asked) = @_;
        my $ticket = RT::Ticket->new(alice());
        my ($id, undef, $said) = $ticket->Create(Queue => 'Helpdesk', Subject => $asked->{subject}, Requestor => 'cust@c.example');
        die "$said\n" unless $id;
        return $id + 0;
    },
);

print {$answers} "=> \"ready\"\n";
while (my $line = <STDIN>) {
    my $asked = $json->decode($line);
    my $answer = eval {
        # The server may have been killed meanwhile, and the bridge writes beside RT's cache.
        RT::ConnectToDatabase() unless $RT::Handle->dbh && $RT::Handle->dbh->ping;
        DBIx::SearchBuilder::Record::Cachable->FlushCache;
        $does{$asked->{do}}->($asked);
    };
    $answer = { error => "$@" } if $@;
    print {$answers} '=> ' . $json->encode($answer) . "\n";
}
