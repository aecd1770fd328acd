// Package wire turns what travels on the wire of AWS's protocols into plain structs and
// back. The structs, with tags that say how, are generated from AWS's models into the
// api packages of the services; a Model is the table of a service's operations.
//
// A request is read in two steps. First the operation is named: Query services by
// FormAction and Model.Named, JSON services by Model.Targeted, REST services by Model.Route. Then Decode fills the
// operation's input and checks it as AWS does, in AWS's words:
//
//	op, err := api.Model.Named(wire.FormAction(r, body))
//	in := reflect.New(op.In).Interface()
//	err = wire.Decode(api.Model, op, r, body, in)
//
// What is wrong with a request is an *Error, ready for EncodeError. Whatever a handler
// returns goes through EncodeResponse. AppendJSON writes inputs and outputs as CloudTrail
// does, for the audit record.
//
// A streaming body (S3's PutObject, GetObject) is a field of the struct, an
// io.ReadCloser: Decode puts r.Body there, EncodeResponse copies it to the client.
//
// The package decides nothing and keeps nothing: a table of types it has seen is its
// only state. Strings of an input share the memory of the request's body.
package wire

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"sync"
)

// Decode reads a request into in, a pointer to the operation's input, and checks it.
// body is the request's body, nil where it streams (Operation.Streams). For REST
// operations, Route must have seen the request. The error is an *Error for the caller.
func Decode(m *Model, op *Operation, r *http.Request, body []byte, in any) error {
	if t := reflect.TypeOf(in); op.In == nil || t.Kind() != reflect.Pointer || t.Elem() != op.In {
		panic(fmt.Sprintf("wire: %T is not the input of %s", in, op.Name))
	}
	switch m.Protocol {
	case Query, EC2:
		return decodeQuery(m, r, body, in)
	case RESTXML:
		return decodeREST(m, op, r, body, in)
	case JSON10, JSON11:
		return decodeJSON(m, body, in)
	case RESTJSON:
		return decodeRESTJSON(m, r, body, in)
	}
	panic(fmt.Sprintf("wire: %s: no codec for protocol %d", m.Name, m.Protocol))
}

// Read is Decode for an operation that another server carries out: it fills the input
// and leaves it to that server to say what is missing or out of bounds. What cannot be
// read in one way only is refused all the same: wrong types, a member given twice.
func Read(m *Model, op *Operation, r *http.Request, body []byte, in any) error {
	switch m.Protocol {
	case JSON10, JSON11:
		return ReadJSON(body, in)
	}
	return Decode(m, op, r, body, in)
}

// ReadJSON is Read of a JSON protocol's request.
func ReadJSON(body []byte, in any) error { return readJSON(body, in, false) }

// SkimJSON is ReadJSON without the maps that no record has, sensitive ones: they can be
// large, and few calls are decided by them. They must be JSON, and no object in them may
// have a member twice.
func SkimJSON(body []byte, in any) error { return readJSON(body, in, true) }

// textXML and textXMLUTF8 are a header's values, shared by all answers.
var textXML, textXMLUTF8 = []string{"text/xml"}, []string{"text/xml;charset=UTF-8"}

// buffers are what answers are written into.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

func release(b *[]byte, used []byte) {
	if cap(used) <= 4<<20 { // a page of 1,000 roles has a megabyte and more
		*b = used[:0]
		buffers.Put(b)
	}
}

// EncodeResponse writes the answer: out is a pointer to the operation's output. The
// error is that of writing to the client, or of reading a streaming body, which is
// closed in any case; nothing can be told the client any more then.
func EncodeResponse(w http.ResponseWriter, m *Model, op *Operation, out any, requestID string) error {
	switch m.Protocol {
	case RESTXML:
		return encodeREST(w, m, op, out, requestID)
	case RESTJSON:
		return encodeRESTJSON(w, op, out, requestID)
	}
	b := buffers.Get().(*[]byte)
	dst := *b
	h := w.Header()
	switch m.Protocol {
	case Query:
		dst = appendQuery(dst, m, op, out, requestID)
		h["Content-Type"] = textXML
	case EC2:
		dst = appendEC2(dst, m, op, out, requestID)
		h["Content-Type"] = textXMLUTF8
	case JSON10, JSON11:
		if op.Out != nil {
			dst = AppendJSON(dst, out, JSONOptions{Wire: true})
		}
		h.Set("Content-Type", contentTypeJSON(m))
	default:
		panic(fmt.Sprintf("wire: %s: no codec for protocol %d", m.Name, m.Protocol))
	}
	h["X-Amzn-Requestid"] = []string{requestID}
	if len(dst) >= 2048 { // net/http tells the length of what is shorter by itself, at less cost
		h["Content-Length"] = []string{strconv.Itoa(len(dst))}
	}
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(dst)
	release(b, dst)
	return err
}

// EncodeError writes an error. resource is the path that S3 puts into its documents;
// S3's HostId is the header X-Amz-Id-2 of the answer, if it is set before.
func EncodeError(w http.ResponseWriter, m *Model, e *Error, requestID, resource string) {
	b := buffers.Get().(*[]byte)
	dst := *b
	h := w.Header()
	switch m.Protocol {
	case RESTXML:
		dst = appendRESTError(dst, e, requestID, h.Get("X-Amz-Id-2"), resource)
		h.Set("Content-Type", "application/xml")
		h.Set("X-Amz-Request-Id", requestID)
	case JSON10, JSON11:
		dst = appendJSONError(dst, m, e)
		h.Set("Content-Type", contentTypeJSON(m))
		h.Set("X-Amzn-Requestid", requestID)
	case RESTJSON:
		dst = appendRESTJSONError(dst, m, e)
		h.Set("Content-Type", "application/json")
		h.Set("X-Amzn-Errortype", e.Code)
		h.Set("X-Amzn-Requestid", requestID)
	case EC2:
		dst = appendEC2Error(dst, e, requestID)
		h["Content-Type"] = textXMLUTF8
		h.Set("X-Amzn-Requestid", requestID)
	default:
		dst = appendQueryError(dst, m, e, requestID)
		h.Set("Content-Type", "text/xml")
		h.Set("X-Amzn-Requestid", requestID)
	}
	if e.Document != nil {
		dst = append(dst[:0], e.Document...)
	}
	if e.HTTPStatus() == http.StatusNotModified {
		h.Del("Content-Type")
		w.WriteHeader(e.HTTPStatus())
	} else {
		h.Set("Content-Length", strconv.Itoa(len(dst)))
		w.WriteHeader(e.HTTPStatus())
		w.Write(dst) // net/http leaves the body out of an answer to HEAD
	}
	release(b, dst)
}
