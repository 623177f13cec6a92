// Fetches URLs, several at a time: fetch WORKERS TRANSPORT URL... Says how long it took and which
// protocol was spoken last. Transports are named by what they are made of and what is changed.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Without an entry for h2, a Transport does not know what to do with it.
var empty = map[string]func(string, *tls.Conn) http.RoundTripper{}

func transport(name string) *http.Transport {
	clone := http.DefaultTransport.(*http.Transport).Clone()
	switch name {
	case "new":
		return &http.Transport{}
	case "new-protocols":
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(true)
		return transport
	case "clone":
	case "new-empty":
		return &http.Transport{TLSNextProto: empty}
	case "clone-empty":
		clone.TLSNextProto = empty
	case "clone-empty-alpn":
		clone.TLSNextProto = empty
		clone.TLSClientConfig.NextProtos = []string{"http/1.1"}
	case "clone-protocols":
		clone.Protocols = new(http.Protocols)
		clone.Protocols.SetHTTP1(true)
	case "clone-force":
		clone.ForceAttemptHTTP2 = false
	default:
		fmt.Fprintln(os.Stderr, "which transport?", name)
		os.Exit(2)
	}
	return clone
}

func main() {
	workers, _ := strconv.Atoi(os.Args[1])
	transport := transport(os.Args[2])
	transport.MaxIdleConnsPerHost = workers
	client := &http.Client{Transport: transport}
	urls := make(chan string)
	var group sync.WaitGroup
	var protocol atomic.Value
	begun := time.Now()
	for range workers {
		group.Go(func() {
			for url := range urls {
				response, err := client.Get(url)
				if err == nil {
					protocol.Store(response.Proto)
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
	fmt.Println(time.Since(begun).Seconds(), protocol.Load())
}
