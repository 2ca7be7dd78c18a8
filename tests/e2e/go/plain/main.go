// Calls a model with nothing but Go's standard library: plain MODE [N].
//
// Prints a line of JSON for each reply: id, text and tokens. With STEPPED set, it says so
// and waits for a line on standard input first. It builds with every Go from 1.18 on.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
)

const prompt = "Grüße an 漢字 🦀"

type usage struct {
	Input  int `json:"prompt_tokens"`
	Output int `json:"completion_tokens"`
}

type message struct {
	Content string `json:"content"`
}

// A reply, or a chunk of one.
type chat struct {
	ID      string
	Choices []struct{ Message, Delta message }
	Usage   *usage
}

var output sync.Mutex

func say(id, text string, used usage) {
	line, err := json.Marshal(map[string]any{
		"id": id, "text": text, "input": used.Input, "output": used.Output,
	})
	check(err)
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func body(stream bool) []byte {
	request := map[string]any{
		"model":    "gpt-4o-mini",
		"messages": []map[string]string{{"role": "user", "content": prompt}},
	}
	if stream {
		request["stream"] = true
		request["stream_options"] = map[string]bool{"include_usage": true}
	}
	bytes, err := json.Marshal(request)
	check(err)
	return bytes
}

func request(stream bool) *http.Request {
	place := os.Getenv("OPENAI_BASE_URL") + "/chat/completions"
	made, err := http.NewRequest("POST", place, bytes.NewReader(body(stream)))
	check(err)
	made.Header.Set("Authorization", "Bearer "+os.Getenv("CANARY"))
	made.Header.Set("Content-Type", "application/json")
	fields := map[string]string{}
	if text := os.Getenv("FIELDS"); text != "" {
		check(json.Unmarshal([]byte(text), &fields))
	}
	for name, value := range fields {
		made.Header.Set(name, value)
	}
	return made
}

func trust() *tls.Config {
	pem, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	check(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatal("no certificate of an authority")
	}
	return &tls.Config{RootCAs: roots}
}

// A connection as programs wrap them to count or to time out.
type wrapped struct {
	net.Conn
	read int
}

func (w *wrapped) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.read += n
	return n, err
}

func client(mode string) *http.Client {
	transport := &http.Transport{TLSClientConfig: trust(), ForceAttemptHTTP2: mode == "http2"}
	if mode == "wrapped" {
		transport.Dial = func(network, place string) (net.Conn, error) {
			conn, err := net.Dial(network, place)
			return &wrapped{Conn: conn}, err
		}
	}
	return &http.Client{Transport: transport}
}

// One reply in a piece.
func unary(c *http.Client) {
	reply, err := c.Do(request(false))
	check(err)
	defer reply.Body.Close()
	var got chat
	check(json.NewDecoder(reply.Body).Decode(&got))
	say(got.ID, got.Choices[0].Message.Content, *got.Usage)
}

// One reply in chunks.
func streamed(c *http.Client) {
	reply, err := c.Do(request(true))
	check(err)
	defer reply.Body.Close()
	gather(reply.Body)
}

func gather(events io.Reader) {
	var id, text string
	var used usage
	lines := bufio.NewScanner(events)
	for lines.Scan() {
		data := strings.TrimPrefix(lines.Text(), "data: ")
		if data == lines.Text() || data == "[DONE]" {
			continue
		}
		var chunk chat
		check(json.Unmarshal([]byte(data), &chunk))
		id = chunk.ID
		for _, choice := range chunk.Choices {
			text += choice.Delta.Content
		}
		if chunk.Usage != nil {
			used = *chunk.Usage
		}
	}
	check(lines.Err())
	say(id, text, used)
}

// Reads into an array on the goroutine's stack, which moves as the handshake makes it grow.
func stack() {
	place, err := url.Parse(os.Getenv("OPENAI_BASE_URL"))
	check(err)
	conn, err := tls.Dial("tcp", place.Host, trust())
	check(err)
	defer conn.Close()
	made := request(true)
	made.Close = true
	check(made.Write(conn))
	var all bytes.Buffer
	var buffer [1500]byte
	for {
		n, err := conn.Read(buffer[:])
		all.Write(buffer[:n])
		if err == io.EOF {
			break
		}
		check(err)
	}
	reply, err := http.ReadResponse(bufio.NewReader(&all), made)
	check(err)
	gather(reply.Body)
}

func main() {
	mode, n := os.Args[1], 1
	if len(os.Args) > 2 {
		n, _ = strconv.Atoi(os.Args[2])
	}
	if os.Getenv("STEPPED") != "" {
		fmt.Println("waits")
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		check(err)
	}
	c := client(mode)
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			switch mode {
			case "stack":
				stack()
			case "unary", "wrapped":
				unary(c)
			default:
				streamed(c)
			}
		}()
	}
	all.Wait()
}
