// The service of `clients/service.py`, in Go with `net/http` on both sides; prints its port.
// With the argument `http2` it asks over HTTP/2. What begins with "started" is asked by another
// goroutine than the one that serves.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func client() *http.Client {
	pem, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	check(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatal("no certificate of an authority")
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: len(os.Args) > 1 && os.Args[1] == "http2",
		// Requests that are served at once share connections, one after the other.
		MaxConnsPerHost:     3,
		MaxIdleConnsPerHost: 3,
	}}
}

// What the model says to a question that came with a trace context.
func ask(model *http.Client, question, traceparent string) ([]byte, error) {
	body, err := json.Marshal(map[string]any{
		"model":    "gpt-4o-mini",
		"stream":   true,
		"messages": []map[string]string{{"role": "user", "content": question}},
	})
	check(err)
	place := os.Getenv("OPENAI_BASE_URL") + "/chat/completions"
	request, err := http.NewRequest("POST", place, bytes.NewReader(body))
	check(err)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("CANARY"))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("x-test-pause-ms", "40")
	request.Header.Set("x-test-words", "12")
	if strings.HasPrefix(question, "pass on") && traceparent != "" {
		request.Header.Set("traceparent", traceparent)
	}
	reply, err := model.Do(request)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	return io.ReadAll(reply.Body)
}

// The same, from a goroutine of its own.
func askStarted(model *http.Client, question, traceparent string) (said []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		said, err = ask(model, question, traceparent)
	}()
	<-done
	return said, err
}

func main() {
	model := client()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	check(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, err := io.ReadAll(r.Body)
		if err != nil || r.Method != "POST" {
			io.WriteString(w, "well")
			return
		}
		asks := ask
		if strings.HasPrefix(string(question), "started") {
			asks = askStarted
		}
		said, err := asks(model, string(question), r.Header.Get("traceparent"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Write(said)
	})))
}
