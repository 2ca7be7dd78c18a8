<?php
// Calls a model through PHP's streams or its curl extension: chat.php MODE [N].
//
// Modes: streams, curl, curl_stream, curl_at_once. Prints a line of JSON for each reply: id, text, tokens.
// With STEPPED set, it says so and waits for a line on standard input first.

if (getenv("STEPPED")) {
    echo "waits\n";
    fgets(STDIN);
}
$mode = $argv[1];
$url = getenv("OPENAI_BASE_URL") . "/chat/completions";
$asked = ["model" => "gpt-4o-mini", "messages" => [["role" => "user", "content" => "Grüße an 漢字 🦀"]]];
if ($mode == "curl_stream") {
    $asked += ["stream" => true, "stream_options" => ["include_usage" => true]];
}
$body = json_encode($asked);
$fields = json_decode(getenv("FIELDS") ?: "{}", true)
    + ["Authorization" => "Bearer " . getenv("CANARY"), "Content-Type" => "application/json"];
$head = array_map(fn($name) => "$name: $fields[$name]", array_keys($fields));

function say($id, $text, $usage)
{
    echo json_encode([
        "id" => $id, "text" => $text,
        "input" => $usage["prompt_tokens"], "output" => $usage["completion_tokens"],
    ]), "\n";
}

function gather($events)
{
    $id = $usage = null;
    $text = "";
    foreach (explode("\n", $events) as $line) {
        if (str_starts_with($line, "data: {")) {
            $chunk = json_decode(substr($line, 6), true);
            [$id, $usage] = [$chunk["id"], $chunk["usage"] ?? null];
            foreach ($chunk["choices"] as $choice) {
                $text .= $choice["delta"]["content"] ?? "";
            }
        }
    }
    say($id, $text, $usage);
}

function by_streams($url, $head, $body)
{
    return file_get_contents($url, false, stream_context_create([
        "http" => ["method" => "POST", "header" => $head, "content" => $body],
        "ssl" => ["cafile" => getenv("SSL_CERT_FILE")],
    ]));
}

function handle($url, $head, $body)
{
    $curl = curl_init();
    curl_setopt_array($curl, [
        CURLOPT_URL => $url, CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => $head,
        CURLOPT_CAINFO => getenv("SSL_CERT_FILE"), CURLOPT_RETURNTRANSFER => true,
    ]);
    return $curl;
}

function by_curl($url, $head, $body)
{
    static $curl = null;
    $curl ??= handle($url, $head, $body);
    return curl_exec($curl);
}

function at_once($n, $url, $head, $body)
{
    $all = curl_multi_init();
    $handles = array_map(fn() => handle($url, $head, $body), range(1, $n));
    foreach ($handles as $one) {
        curl_multi_add_handle($all, $one);
    }
    do {
        curl_multi_exec($all, $running);
        curl_multi_select($all);
    } while ($running);
    return array_map("curl_multi_getcontent", $handles);
}

function tell($got)
{
    $reply = json_decode($got, true);
    say($reply["id"], $reply["choices"][0]["message"]["content"], $reply["usage"]);
}

$n = $argv[2] ?? 1;
if ($mode == "curl_at_once") {
    array_map("tell", at_once($n, $url, $head, $body));
    exit;
}
for ($i = 0; $i < $n; $i++) {
    $got = $mode == "streams" ? by_streams($url, $head, $body) : by_curl($url, $head, $body);
    $mode == "curl_stream" ? gather($got) : tell($got);
}
