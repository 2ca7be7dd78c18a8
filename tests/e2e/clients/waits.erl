%% One call over TLS, in code of the virtual machine; then waits until its input goes on.
ok = ssl:start(),
ok = inets:start(),
{ok, {{_, 200, _}, _, Reply}} = httpc:request(
    post,
    {os:getenv("OPENAI_BASE_URL") ++ "/chat/completions", [], "application/json",
        "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"from Erlang\"}]}"},
    [
        {ssl, [
            {verify, verify_peer},
            {cacertfile, os:getenv("SSL_CERT_FILE")},
            {server_name_indication, "localhost"}
        ]}
    ],
    []
),
io:format("~s~n", [lists:filter(fun(C) -> C >= 32 end, Reply)]),
io:get_line("").
