package wire

import "fmt"

// An Error is what a caller is told: AWS's code, AWS's words and the HTTP status.
// The generated api packages have a constructor for each error of their service;
// everything else that a handler returns is our fault and becomes InternalFailure
// at the door.
type Error struct {
	Code    string // as on the wire: "NoSuchEntity"
	Message string
	Status  int     // HTTP status; 0 is 400
	Fields  []Field // further elements of the error document, in order: S3's BucketName
	// NoMessage leaves the Message element out altogether, as IAM does for an
	// absent credential report.
	NoMessage bool
	// TextIn is the member that holds the message in REST-JSON, where an error differs from
	// what the model says of all: "message". "" where it does not.
	TextIn string
	// Document is the whole error document as the server behind us wrote it, in the
	// protocol's form; nil for errors of our own.
	Document []byte
}

// A Field is an element of an error document beside code and message.
type Field struct{ Name, Value string }

// Error returns code and message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// HTTPStatus returns the status that goes on the wire.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return 400
	}
	return e.Status
}

// With adds a field and returns the error itself, so that a return statement can
// tell the whole: return api.NoSuchBucket("...").With("BucketName", in.Bucket).
func (e *Error) With(name, value string) *Error {
	e.Fields = append(e.Fields, Field{name, value})
	return e
}

// Texted sets TextIn and returns the error itself.
func (e *Error) Texted(member string) *Error {
	e.TextIn = member
	return e
}

// Errorf makes an error, with a message as fmt.Sprintf makes it. What a caller sent is
// an argument and never the format; go vet sees to it.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: status}
}
