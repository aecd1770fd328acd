package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A Filter says which records to read. Empty fields ask for nothing.
type Filter struct {
	RequestID   string
	EventID     string
	EventSource string // sts.amazonaws.com
	EventName   string
	AccessKeyID string
	ErrorCode   string
	Since       time.Time // at that time or later
	Until       time.Time // before that time
}

// An Entry is a record as it was read.
type Entry struct {
	Time        time.Time `json:"eventTime"`
	RequestID   string    `json:"requestID"`
	EventID     string    `json:"eventID"`
	EventSource string    `json:"eventSource"`
	EventName   string    `json:"eventName"`
	ErrorCode   string    `json:"errorCode"`
	Account     string    `json:"recipientAccountId"`
	Identity    struct {
		Type        string `json:"type"`
		ARN         string `json:"arn"`
		AccessKeyID string `json:"accessKeyId"`
	} `json:"userIdentity"`

	// Raw is the whole record.
	Raw json.RawMessage `json:"-"`
}

// Read returns the records in dir that match the filter, the last written
// first. A line that is no record comes as an error that names its place, and
// reading goes on; after an error of the file system it goes on with the next
// file. What the log of a running server has accepted in the last moment may
// not be there yet.
func Read(dir string, f Filter) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		all, err := days(dir)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, day := range slices.Backward(all) {
			// A record is in the file of its day or, if it was written after
			// midnight, in the next one.
			if !f.Since.IsZero() && day < f.Since.Unix()/86400 || !f.Until.IsZero() && day > f.Until.Unix()/86400+1 {
				continue
			}
			if !readFile(filepath.Join(dir, fileName(day)), &f, yield) {
				return
			}
		}
	}
}

// readFile yields a file's records and reports whether to go on.
func readFile(name string, f *Filter, yield func(*Entry, error) bool) bool {
	file, err := os.Open(name)
	if err != nil {
		if os.IsNotExist(err) {
			return true // too old, just now
		}
		return yield(nil, fmt.Errorf("audit: %w", err))
	}
	defer file.Close()
	size, err := file.Seek(0, 2)
	if err != nil {
		return yield(nil, fmt.Errorf("audit: %w", err))
	}
	var tail []byte // of a line whose beginning has not been read
	last := true    // what follows the last line end is still being written
	for end := size; end > 0; {
		from := max(0, end-chunk)
		p := make([]byte, end-from, end-from+int64(len(tail)))
		if _, err := file.ReadAt(p, from); err != nil {
			return yield(nil, fmt.Errorf("audit: reading %s: %w", name, err))
		}
		p = append(p, tail...)
		tail, end = nil, from
		for len(p) > 0 {
			i := bytes.LastIndexByte(p, '\n')
			line := p[i+1:]
			if i < 0 && from > 0 {
				tail = line
				break
			}
			if !last && !yieldLine(name, from+int64(i)+1, line, f, yield) {
				return false
			}
			last = false
			p = p[:max(i, 0)]
		}
	}
	return true
}

// chunk is how much is read at a time, from the end.
const chunk = 256 << 10

func yieldLine(name string, at int64, line []byte, f *Filter, yield func(*Entry, error) bool) bool {
	if len(line) == 0 || !f.mayMatch(line) {
		return true
	}
	e := &Entry{Raw: bytes.Clone(line)}
	if err := json.Unmarshal(line, e); err != nil {
		return yield(nil, &fs.PathError{Op: fmt.Sprintf("audit: reading the record at byte %d", at), Path: name, Err: err})
	}
	if !f.matches(e) {
		return true
	}
	return yield(e, nil)
}

// mayMatch is false for lines that need not be decoded.
func (f *Filter) mayMatch(line []byte) bool {
	for _, want := range []string{f.RequestID, f.EventID, f.EventSource, f.EventName, f.AccessKeyID, f.ErrorCode} {
		if want != "" && !bytes.Contains(line, []byte(want)) {
			return false
		}
	}
	return true
}

func (f *Filter) matches(e *Entry) bool {
	for _, c := range [][2]string{
		{f.RequestID, e.RequestID}, {f.EventID, e.EventID}, {f.EventSource, e.EventSource},
		{f.EventName, e.EventName}, {f.AccessKeyID, e.Identity.AccessKeyID}, {f.ErrorCode, e.ErrorCode},
	} {
		if c[0] != "" && c[0] != c[1] {
			return false
		}
	}
	return (f.Since.IsZero() || !e.Time.Before(f.Since)) && (f.Until.IsZero() || e.Time.Before(f.Until))
}
