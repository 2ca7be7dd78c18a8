# Calls a model with Ruby's own HTTP client: chat.rb MODE [N], by N threads at once.
#
# Prints a line of JSON for each reply: id, text and tokens. With STEPPED set, it says so
# and waits for a line on standard input first.

require "json"
require "net/http"

if ENV["STEPPED"]
  puts "waits"
  $stdout.flush
  $stdin.gets
end
stream = ARGV[0] == "stream"
url = URI(ENV.fetch("OPENAI_BASE_URL") + "/chat/completions")
asked = { model: "gpt-4o-mini", messages: [{ role: "user", content: "Grüße an 漢字 🦀" }] }
asked.merge!(stream: true, stream_options: { include_usage: true }) if stream
fields = JSON.parse(ENV.fetch("FIELDS", "{}")).merge(
  "Authorization" => "Bearer " + ENV.fetch("CANARY"), "Content-Type" => "application/json"
)

def say(id, text, usage)
  puts JSON.generate(id: id, text: text, input: usage["prompt_tokens"], output: usage["completion_tokens"])
  $stdout.flush
end

def gather(events)
  id, text, usage = nil, +"", nil
  events.each_line do |line|
    next unless line.start_with?("data: {")
    chunk = JSON.parse(line.delete_prefix("data: "))
    id, usage = chunk["id"], chunk["usage"]
    chunk["choices"].each { |choice| text << (choice["delta"]["content"] || "") }
  end
  say(id, text, usage)
end

ask = lambda do
  Net::HTTP.start(url.host, url.port, use_ssl: true) do |http|
    request = Net::HTTP::Post.new(url, fields)
    request.body = JSON.generate(asked)
    body = +""
    http.request(request) { |reply| reply.read_body { |part| body << part } }
    body.force_encoding("UTF-8")
  end
end

Array.new((ARGV[1] || 1).to_i) { Thread.new(&ask) }.map(&:value).each do |body|
  next gather(body) if stream
  reply = JSON.parse(body)
  say(reply["id"], reply["choices"][0]["message"]["content"], reply["usage"])
end
