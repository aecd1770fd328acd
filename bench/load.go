package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/rawnet"
)

// A result is what one measurement under load gave.
type result struct {
	requests int
	seconds  float64
	p50, p99 time.Duration
	cpu      time.Duration // of the server, for each request; 0 when it is not known
	size     int           // of the body of an answer
}

func (r result) perSecond() float64 { return float64(r.requests) / r.seconds }

// maxRequests bounds one measurement whatever its time.
const maxRequests = 1_000_000

// load sends the requests, one after the other, over and over, on some connections
// to addr for the time that is set, and wants every answer to have status 200. The
// requests are sent as they stand, written out beforehand, so that the client
// spends little beside what the server does.
func load(ctx context.Context, s settings, addr string, requests [][]byte, cpu func() (time.Duration, error)) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.time)
	defer cancel()
	type outcome struct {
		times []time.Duration
		size  int
		err   error
	}
	outcomes := make([]outcome, s.conns)
	before, err := cpu()
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	var wg sync.WaitGroup
	for i := range s.conns {
		wg.Go(func() {
			o := &outcomes[i]
			conn, err := dial(addr)
			if err != nil {
				o.err = err
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for n := i; ctx.Err() == nil && len(o.times) < maxRequests/s.conns; n++ {
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				sent := time.Now()
				if _, err := conn.Write(requests[n%len(requests)]); err != nil {
					o.err = err
					return
				}
				status, size, err := readAnswer(in)
				if err != nil {
					o.err = err
					return
				}
				if status != http.StatusOK {
					o.err = fmt.Errorf("an answer of status %d", status)
					return
				}
				o.times = append(o.times, time.Since(sent))
				o.size = size
			}
		})
	}
	wg.Wait()
	r := result{seconds: time.Since(start).Seconds()}
	after, err := cpu()
	if err != nil {
		return result{}, err
	}
	var all []time.Duration
	var failed error
	for _, o := range outcomes {
		all = append(all, o.times...)
		failed = errors.Join(failed, o.err)
		r.size = max(r.size, o.size)
	}
	if failed != nil || len(all) == 0 {
		return result{}, fmt.Errorf("%d answers, then: %w", len(all), failed)
	}
	slices.Sort(all)
	r.requests, r.p50, r.p99 = len(all), all[len(all)/2], all[len(all)*99/100]
	r.cpu = (after - before) / time.Duration(len(all))
	return r, nil
}

// dial opens a connection of this program's, of which Go's monitor thread hears nothing:
// with a single one it would wake for each request, on a core that others may share.
func dial(addr string) (*rawnet.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return rawnet.New(conn.(*net.TCPConn)), nil
}

// readAnswer reads one answer and throws its body away. It knows as much of HTTP as the servers here say.
func readAnswer(in *bufio.Reader) (status, size int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, fmt.Errorf("an answer that begins with %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, err
	}
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); len(name) == len("content-length") && bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, 0, err
			}
		}
	}
	if length >= 0 {
		_, err := in.Discard(length)
		return status, length, err
	}
	for { // chunks
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return 0, 0, err
		}
		if _, err := io.CopyN(io.Discard, in, n+2); err != nil {
			return 0, 0, err
		}
		size += int(n)
		if n == 0 {
			return status, size, nil
		}
	}
}

// written gives a request as it goes over the wire.
func written(r *http.Request) ([]byte, error) {
	var b bytes.Buffer
	r.Header.Set("User-Agent", "iamd-bench")
	if err := r.Write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
