package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// benchLambda measures Invoke of a warm function that answers at once, beside a server that
// answers as many bytes and does nothing. One client waits for each answer, so that the
// median is what an invocation takes and not what the queue before it takes.
func benchLambda(ctx context.Context, s settings) ([]table, error) {
	s.conns = 1
	srv, err := startIAMD(ctx, s, "--workloads=process")
	if err != nil {
		return nil, err
	}
	defer srv.stop()
	alice, role, err := prepareRole(ctx, srv)
	if err != nil {
		return nil, err
	}
	iam := func(action string, parameters ...string) error {
		form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
		for i := 0; i+1 < len(parameters); i += 2 {
			form.Set(parameters[i], parameters[i+1])
		}
		_, err := srv.call(ctx, srv.root, "iam", "POST", "/", nil, form.Encode())
		return err
	}
	if err := iam("UpdateAssumeRolePolicy", "RoleName", "deploy", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`); err != nil {
		return nil, err
	}
	if err := iam("PutUserPolicy", "UserName", "alice", "PolicyName", "invoke", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*"}}`); err != nil {
		return nil, err
	}
	code, err := bootstrapZip(ctx)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"FunctionName": "f", "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": role,
		"Code": map[string]string{"ZipFile": base64.StdEncoding.EncodeToString(code)}})
	if err != nil {
		return nil, err
	}
	if _, err := srv.call(ctx, srv.root, "lambda", "POST", "/2015-03-31/functions", http.Header{}, string(body)); err != nil {
		return nil, err
	}
	const target, event = "/2015-03-31/functions/f/invocations", `{"Answer":{"greeting":"hello"}}`
	answer, err := srv.call(ctx, alice, "lambda", "POST", target, nil, event)
	if err != nil {
		return nil, err
	}
	if answer != `{"greeting":"hello"}` {
		return nil, fmt.Errorf("the function answers %s", answer)
	}
	nobody, err := startBare(ctx, s, len(answer))
	if err != nil {
		return nil, err
	}
	defer nobody.stop()

	servers := []*server{srv, nobody}
	requests := make([][][]byte, len(servers))
	for i, to := range servers {
		for range distinct {
			r, err := to.request(ctx, alice, "lambda", "POST", target, nil, event)
			if err != nil {
				return nil, err
			}
			b, err := written(r)
			if err != nil {
				return nil, err
			}
			requests[i] = append(requests[i], b)
		}
	}
	best, err := compared(ctx, s, servers, requests)
	if err != nil {
		return nil, err
	}
	return []table{results("Invoke of a warm function",
		"one connection, an event and an answer of a few bytes; the function is a program in namespaces of its own that takes events from the Lambda Runtime API and answers at once; iamd verifies the signature, decides, records the call, and writes the lines of the function's log",
		servers, best)}, nil
}

// bootstrapZip is the function of Lambda's tests, as a deployment package.
func bootstrapZip(ctx context.Context) ([]byte, error) {
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/iamd-dev/iamd").Output()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "iamd-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "bootstrap")
	if err := command(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-C", strings.TrimSpace(string(module)), "-o", bin, "./internal/aws/lambda/testdata/bootstrap"); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(bin)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}
