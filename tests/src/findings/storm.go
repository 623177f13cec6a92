// A TLS server and its clients. `storm server` prints its address, serves until its input ends
// and says where handshakes waited; `storm clients ADDRESS AT_ONCE COUNT` opens connections.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var handshakes, untilHello, untilKeys, reading atomic.Int64

type conn struct {
	net.Conn
	accepted time.Time
	hello    time.Time
}

// Until the hello is there, reading is waiting for the client.
func (c *conn) Read(p []byte) (int, error) {
	begun := time.Now()
	n, err := c.Conn.Read(p)
	if c.hello.IsZero() {
		reading.Add(int64(time.Since(begun)))
	}
	return n, err
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, accepted: time.Now()}, nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func cpu() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// Seconds that goroutines were ready and did not run, from the middle of each bucket.
func ready(sample []metrics.Sample) float64 {
	histogram := sample[1].Value.Float64Histogram()
	sum := 0.0
	for i, count := range histogram.Counts {
		low, high := histogram.Buckets[i], histogram.Buckets[i+1]
		if count > 0 && low >= 0 && high < 1e6 {
			sum += float64(count) * (low + high) / 2
		}
	}
	return sum
}

func server() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	// Called when the hello has been read; the settings stay the default ones.
	config.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		c := info.Conn.(*conn)
		c.hello = time.Now()
		untilHello.Add(int64(c.hello.Sub(c.accepted)))
		mine := config.Clone()
		// Called when the server has sent its part.
		mine.VerifyConnection = func(tls.ConnectionState) error {
			untilKeys.Add(int64(time.Since(c.hello)))
			handshakes.Add(1)
			return nil
		}
		return mine, nil
	}
	sample := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}, {Name: "/sched/latencies:seconds"}}
	fmt.Println(tcp.Addr())
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	https := &http.Server{Handler: handler, TLSConfig: config}
	metrics.Read(sample)
	locked, waited, used := sample[0].Value.Float64(), ready(sample), cpu()
	go https.ServeTLS(listener{tcp}, "", "")
	io.Copy(io.Discard, os.Stdin)
	metrics.Read(sample)
	n := float64(max(handshakes.Load(), 1))
	ms := func(seconds float64) float64 { return seconds * 1e3 / n }
	check(json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"handshakes":  float64(handshakes.Load()),
		"until_hello": ms(float64(untilHello.Load()) / 1e9),
		"reading":     ms(float64(reading.Load()) / 1e9),
		"until_keys":  ms(float64(untilKeys.Load()) / 1e9),
		"cpu":         ms((cpu() - used).Seconds()),
		"ready":       ms(ready(sample) - waited),
		"locked":      ms(sample[0].Value.Float64() - locked),
	}))
}

func clients(address string, atOnce, count int) {
	jobs := make(chan struct{})
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for range jobs {
				transport := &http.Transport{
					TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
					ForceAttemptHTTP2: true,
				}
				response, err := (&http.Client{Transport: transport}).Get("https://" + address + "/")
				check(err)
				protocol, err := io.ReadAll(response.Body)
				check(err)
				response.Body.Close()
				if string(protocol) != "HTTP/2.0" {
					check(fmt.Errorf("spoke %s", protocol))
				}
				transport.CloseIdleConnections()
			}
		})
	}
	for range count {
		jobs <- struct{}{}
	}
	close(jobs)
	group.Wait()
}

func main() {
	if os.Args[1] == "server" {
		server()
		return
	}
	atOnce, err := strconv.Atoi(os.Args[3])
	check(err)
	count, err := strconv.Atoi(os.Args[4])
	check(err)
	clients(os.Args[2], atOnce, count)
}
