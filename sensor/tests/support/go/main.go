// Fetches a page: a small program with crypto/tls, for the tests of its discovery.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	reply, err := http.Get(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, reply.Body); err != nil {
		log.Fatal(err)
	}
}
