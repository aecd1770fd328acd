package dynamodb

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// An Engine carries out calls.
type Engine interface {
	// Call sends the body of a call to the engine. target is what X-Amz-Target says, and
	// document the body of the answer.
	Call(ctx context.Context, target string, body []byte) (status int, document []byte, err error)
}

// A Remote is an engine to which HTTP requests are sent: URL and host are Do's affair.
type Remote struct {
	Do func(*http.Request) (*http.Response, error)
}

// Call sends a request.
func (e Remote) Call(ctx context.Context, target string, body []byte) (status int, document []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://engine/", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("X-Amz-Target", target)
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	resp, err := e.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if document, err = io.ReadAll(io.LimitReader(resp.Body, largestAnswer+1)); err != nil {
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(document) > largestAnswer {
		return 0, nil, fmt.Errorf("the answer has more than %d bytes", largestAnswer)
	}
	return resp.StatusCode, document, nil
}
