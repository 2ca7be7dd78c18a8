# Calls a model with Perl's own HTTP client over IO::Socket::SSL: chat.pl MODE [N].
#
# Prints a line of JSON for each reply: id, text and tokens. With STEPPED set, it says so
# and waits for a line on standard input first.

use strict;
use warnings;
use utf8;
use HTTP::Tiny;
use JSON::PP;

my ($mode, $n) = @ARGV;
my $stream = $mode eq "stream";
my $json = JSON::PP->new->utf8;
my $asked = { model => "gpt-4o-mini", messages => [{ role => "user", content => "Grüße an 漢字 🦀" }] };
if ($stream) {
    $asked->{stream} = JSON::PP::true;
    $asked->{stream_options} = { include_usage => JSON::PP::true };
}
my $fields = $json->decode($ENV{FIELDS} // "{}");
$fields->{Authorization} = "Bearer $ENV{CANARY}";
$fields->{"Content-Type"} = "application/json";

$| = 1;
if ($ENV{STEPPED}) {
    print "waits\n";
    <STDIN>;
}

sub say_reply {
    my ($id, $text, $usage) = @_;
    print $json->encode({
        id => $id, text => $text,
        input => $usage->{prompt_tokens}, output => $usage->{completion_tokens},
    }), "\n";
}

sub gather {
    my ($id, $text, $usage) = (undef, "", undef);
    for my $line (split /\n/, shift) {
        next unless $line =~ /^data: (\{.*)/;
        my $chunk = $json->decode($1);
        ($id, $usage) = ($chunk->{id}, $chunk->{usage});
        $text .= $_->{delta}{content} // "" for @{ $chunk->{choices} };
    }
    say_reply($id, $text, $usage);
}

my $http = HTTP::Tiny->new(verify_SSL => 1, SSL_options => { SSL_ca_file => $ENV{SSL_CERT_FILE} });
for (1 .. $n // 1) {
    my $body = "";
    my $reply = $http->post("$ENV{OPENAI_BASE_URL}/chat/completions", {
        headers => $fields, content => $json->encode($asked),
        data_callback => sub { $body .= $_[0] },
    });
    die "$reply->{status} $reply->{content}" unless $reply->{success};
    if ($stream) { gather($body); next }
    my $said = $json->decode($body);
    say_reply($said->{id}, $said->{choices}[0]{message}{content}, $said->{usage});
}
