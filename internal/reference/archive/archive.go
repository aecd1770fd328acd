// Package archive is the container of the reference's embedded data: many small
// JSON values in one file, each of which can be read without unpacking the others.
//
// The data of AWS's services and managed policies is some ten megabytes as JSON and
// is mostly repetition. Compressed as one stream it would be smallest, but then the
// first question about one service would unpack all of them, and the memory of a
// server that knows four services would be that of one that knows all. So every
// value is a DEFLATE stream of its own, against a dictionary that all share, which
// holds what they have in common and costs a tenth more than one stream would.
//
// A file is, in this order:
//
//	magic        "iamdref1"
//	dictionary   its compressed length as a uvarint, then a DEFLATE stream
//	header       the same, then a JSON value of the caller's: the table of contents
//	values       DEFLATE streams one after another; the header's order is theirs
//
// and the lengths of the values stand after the header as count and uvarints. [Write]
// makes a file and always the same one from the same values, [Open] reads one. The
// files are made by our generator and embedded, so a damaged one is a mistake of ours:
// Open and Value report it as an error, and the caller may panic.
package archive

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

const magic = "iamdref1"

// An Archive is an open file. It is safe for concurrent use.
type Archive struct {
	dictionary []byte
	header     []byte
	values     [][]byte // compressed, parts of the file
}

// Open reads the frame of a file: the dictionary and the header, but no value.
// The archive keeps data, which must not change.
func Open(data []byte) (*Archive, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, errors.New("archive: not a reference archive")
	}
	number := func() (int, error) {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(data)) {
			return 0, errors.New("archive: bad length")
		}
		rest = rest[size:]
		return int(n), nil
	}
	take := func(n int) ([]byte, error) {
		if n > len(rest) {
			return nil, errors.New("archive: cut short")
		}
		part := rest[:n:n]
		rest = rest[n:]
		return part, nil
	}
	var a Archive
	for _, part := range []*[]byte{&a.dictionary, &a.header} {
		n, err := number()
		if err != nil {
			return nil, err
		}
		packed, err := take(n)
		if err != nil {
			return nil, err
		}
		if *part, err = inflate(packed, nil); err != nil {
			return nil, err
		}
	}
	count, err := number()
	if err != nil {
		return nil, err
	}
	lengths := make([]int, count)
	for i := range lengths {
		if lengths[i], err = number(); err != nil {
			return nil, err
		}
	}
	a.values = make([][]byte, count)
	for i, n := range lengths {
		if a.values[i], err = take(n); err != nil {
			return nil, err
		}
	}
	return &a, nil
}

// Header decodes the table of contents into v.
func (a *Archive) Header(v any) error { return json.Unmarshal(a.header, v) }

// Len is the number of values.
func (a *Archive) Len() int { return len(a.values) }

// Value unpacks value i.
func (a *Archive) Value(i int) ([]byte, error) { return inflate(a.values[i], a.dictionary) }

// Write makes the file of a table of contents and its values.
func Write(header any, values [][]byte) ([]byte, error) {
	contents, err := json.Marshal(header)
	if err != nil {
		return nil, fmt.Errorf("archive: encoding the header: %w", err)
	}
	dictionary := dictionaryOf(values)
	file := []byte(magic)
	for _, part := range [][]byte{dictionary, contents} {
		packed := deflate(part, nil)
		file = binary.AppendUvarint(file, uint64(len(packed)))
		file = append(file, packed...)
	}
	file = binary.AppendUvarint(file, uint64(len(values)))
	var body []byte
	for _, v := range values {
		packed := deflate(v, dictionary)
		file = binary.AppendUvarint(file, uint64(len(packed)))
		body = append(body, packed...)
	}
	return append(file, body...), nil
}

// dictionaryOf takes the values of middling size, as many as DEFLATE's window of
// 32 KiB holds. The small ones are all head and the large ones all their own; of the
// choices tried, these compressed the rest best.
func dictionaryOf(values [][]byte) []byte {
	const window = 32 << 10
	bySize := slices.Clone(values)
	slices.SortStableFunc(bySize, func(a, b []byte) int { return len(a) - len(b) })
	var d []byte
	for _, v := range bySize[len(bySize)/2:] {
		if d = append(d, v...); len(d) >= window {
			return d[:window]
		}
	}
	return d
}

// Writing to memory cannot fail, and the level is a constant: an error here is a
// mistake in this package.
func deflate(data, dictionary []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, flate.BestCompression, dictionary)
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(data); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func inflate(packed, dictionary []byte) ([]byte, error) {
	r := flate.NewReaderDict(bytes.NewReader(packed), dictionary)
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return data, nil
}
