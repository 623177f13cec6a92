// Fetches URLs, several at a time, and says how long it took: fetch WORKERS h2|h1 URL...
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

func main() {
	workers, _ := strconv.Atoi(os.Args[1])
	// No clone of the default one: that offers h2 in its TLS settings also when it cannot speak it.
	transport := &http.Transport{MaxIdleConnsPerHost: workers}
	if os.Args[2] == "h1" {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	client := &http.Client{Transport: transport}
	urls := make(chan string)
	var group sync.WaitGroup
	begun := time.Now()
	for range workers {
		group.Go(func() {
			for url := range urls {
				response, err := client.Get(url)
				if err == nil {
					_, err = io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		})
	}
	for _, url := range os.Args[3:] {
		urls <- url
	}
	close(urls)
	group.Wait()
	fmt.Println(time.Since(begun).Seconds())
}
