package wire

import (
	"reflect"
	"sort"
	"sync"
)

// Protocol is the form in which a service speaks.
type Protocol uint8

const (
	Query    Protocol = iota + 1 // form in, XML out: IAM, STS
	EC2                          // Query with EC2's own XML
	JSON10                       // X-Amz-Target, application/x-amz-json-1.0
	JSON11                       // X-Amz-Target, application/x-amz-json-1.1
	RESTJSON                     // method and path, JSON bodies
	RESTXML                      // method and path, XML bodies: S3
)

// A Model is one service as its API model describes it. It is generated; after
// that it is never changed.
type Model struct {
	Name         string // "iam": the prefix of our tables and the command in scripts
	SigningName  string // service part of the credential scope
	ServiceID    string // "IAM", as clients print it
	Version      string // "2010-05-08"
	Namespace    string // of XML documents
	TargetPrefix string // JSON protocols: X-Amz-Target is TargetPrefix + "." + operation
	Protocol     Protocol
	Global       bool        // one endpoint for all regions, signed for us-east-1 only
	Quiet        bool        // ValidationError does not repeat the caller's value (IAM)
	Capital      bool        // JSON protocols, REST-JSON too: an error's text is in Message, not in message
	Reasons      string      // JSON protocols: the error of a bad input that tells the first fault by a reason; "" is ValidationException, which tells all
	Operations   []Operation // sorted by name

	routesOnce sync.Once
	routes     *routes
}

// An Operation is one call of a service.
type Operation struct {
	Name   string
	Method string // "POST"
	URI    string // "/", or for REST "/{Bucket}/{Key+}?tagging"
	// In and Out are the structs XxxInput and XxxOutput. Out is nil when the model
	// has no output (XxxOutput exists all the same, empty, so that handlers have a
	// type to return); both are nil for operations known by name and route only.
	In, Out       reflect.Type
	ResultWrapper string // Query: "CreateRoleResult", "" without output
	Root          string // REST-XML: root element of the answer when no payload member names it
	Status        int    // HTTP status of success, 0 is 200
	Unsigned      bool   // called without a signature: AssumeRoleWithWebIdentity
	// NoRoute marks operations that no request reaches: deprecated ones whose route
	// another has, and those of other endpoints.
	NoRoute bool
	// Query and Header name the query parameters and headers without which a REST
	// request is not this operation: uploadId, partNumber; x-amz-copy-source.
	Query, Header []string
	// ChecksumRequired says that the body must come with Content-MD5 or an
	// x-amz-checksum header.
	ChecksumRequired bool
}

// Operation returns the operation with that name, exactly as written, or nil.
func (m *Model) Operation(name string) *Operation {
	i := sort.Search(len(m.Operations), func(i int) bool { return m.Operations[i].Name >= name })
	if i < len(m.Operations) && m.Operations[i].Name == name {
		return &m.Operations[i]
	}
	return nil
}

// Type returns T's type. Generated tables use it.
func Type[T any]() reflect.Type { return reflect.TypeFor[T]() }
