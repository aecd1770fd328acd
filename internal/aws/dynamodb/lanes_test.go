package dynamodb

import (
	"bufio"
	"strings"
	"testing"
)

func TestReadAnswer(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		status       int // 0: it is refused
		document     string
		last         bool
	}{
		{"whole", "HTTP/1.1 200 OK\r\ncontent-type: x\r\ncontent-length: 2\r\n\r\n{}", 200, "{}", false},
		{"followed by another", "HTTP/1.1 400 Bad Request\r\nContent-Length:3\r\n\r\n{ }HTTP/1.1 ", 400, "{ }", false},
		{"empty", "HTTP/1.1 204\r\nContent-Length: 0\r\n\r\n", 204, "", false},
		{"the last", "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\nx", 200, "x", true},
		{"nothing", "", 0, "", false},
		{"not HTTP", "hello\r\n\r\n", 0, "", false},
		{"of a newer HTTP", "HTTP/2 200\r\nContent-Length: 0\r\n\r\n", 0, "", false},
		{"on the way", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, "", false},
		{"without a length", "HTTP/1.1 200 OK\r\n\r\n{}", 0, "", false},
		{"with two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{ }", 0, "", false},
		{"with a length below zero", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, "", false},
		{"with a length beyond reason", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", 0, "", false},
		{"longer than any", "HTTP/1.1 200 OK\r\nContent-Length: 33554433\r\n\r\n", 0, "", false},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "", false},
		{"broken off in the headers", "HTTP/1.1 200 OK\r\nContent-Len", 0, "", false},
		{"broken off in the body", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", 0, "", false},
		{"with a header too long", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 8192) + "\r\nContent-Length: 0\r\n\r\n", 0, "", false},
		{"with headers without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", 2000) + "Content-Length: 0\r\n\r\n", 0, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, document, last, err := readAnswer(bufio.NewReader(strings.NewReader(c.answer)))
			if (err == nil) != (c.status != 0) || status != c.status || string(document) != c.document || last != c.last {
				t.Errorf("%d %q last %t, %v", status, document, last, err)
			}
		})
	}
}
