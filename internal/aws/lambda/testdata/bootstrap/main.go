// Bootstrap is a function for a provided runtime, as the tests need it: it does what its
// event says.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

type event struct {
	Print  string // to standard output
	Sleep  int    // milliseconds
	Exit   *int
	Error  string
	Env    string // the variable to answer with
	Answer json.RawMessage
	Grow   int // megabytes to take
}

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"
	if os.Getenv("FAIL_INIT") != "" {
		post(api+"init/error", []byte(`{"errorType":"Init.Failed","errorMessage":"as told"}`))
		os.Exit(1)
	}
	var kept [][]byte
	for n := 1; ; n++ {
		resp, err := http.Get(api + "invocation/next")
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
		id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
		var e event
		json.Unmarshal(body, &e)
		if e.Print != "" {
			fmt.Println(e.Print)
		}
		if e.Grow > 0 {
			b := make([]byte, e.Grow<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
		}
		time.Sleep(time.Duration(e.Sleep) * time.Millisecond)
		if e.Exit != nil {
			os.Exit(*e.Exit)
		}
		if e.Error != "" {
			post(api+"invocation/"+id+"/error", []byte(`{"errorType":"Told","errorMessage":"`+e.Error+`"}`))
			continue
		}
		answer := e.Answer
		if answer == nil {
			answer, _ = json.Marshal(map[string]any{
				"n": n, "pid": os.Getpid(), "event": json.RawMessage(body), "arn": resp.Header.Get("Lambda-Runtime-Invoked-Function-Arn"),
				"env": os.Getenv(e.Env), "id": id,
			})
		}
		post(api+"invocation/"+id+"/response", answer)
	}
}

func post(url string, body []byte) {
	resp, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
