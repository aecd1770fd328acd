package sigv4

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"strconv"
	"strings"
)

// chunks decodes aws-chunked, the encoding of a streamed upload. It is not the
// transfer encoding of HTTP, which lies around it:
//
//	10000;chunk-signature=ad80...\r\n
//	65536 bytes\r\n
//	400;chunk-signature=0055...\r\n
//	1024 bytes\r\n
//	0;chunk-signature=b6c6...\r\n
//	x-amz-checksum-crc32:sOO8/Q==\r\n
//	x-amz-trailer-signature:63bd...\r\n
//	\r\n
//
// Each signature covers the chunk and the signature before it, the first that of
// the request. Without signatures (STREAMING-UNSIGNED-PAYLOAD-TRAILER) a chunk
// begins with its length alone.
type chunks struct {
	body     *Body
	in       *bufio.Reader
	signed   bool
	trailers bool

	number int   // of this chunk, from 1
	size   int64 // of this chunk
	left   int64 // of its bytes
	total  int64 // bytes in all chunks so far, this one included

	sig  *Signature
	want string // signature of this chunk as sent
	last string // the one before
	hash hash.Hash
}

const (
	maxChunkLine = 256      // of the line before a chunk: two numbers and a signature
	maxTrailer   = 4 << 10  // of all trailers together
	minChunk     = 8 << 10  // of every chunk but the last
	chunkBuffer  = 16 << 10 // what is read at once
)

func newChunks(b *Body, s *Signature, signed, trailers bool) *chunks {
	c := &chunks{body: b, in: bufio.NewReaderSize(b.src, chunkBuffer), signed: signed, trailers: trailers, sig: s, last: s.seed}
	if signed {
		c.hash = sha256.New()
	}
	return c
}

// Read returns io.EOF after the last chunk, its trailers and the end of the
// encoded body have been read and found to be in order.
func (c *chunks) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.left == 0 {
		if c.number > 0 {
			if err := c.end(); err != nil {
				return 0, err
			}
		}
		if err := c.begin(); err != nil {
			return 0, err
		}
		if c.size == 0 {
			if err := c.finish(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.in.Read(p)
	c.left -= int64(n)
	if c.signed {
		c.hash.Write(p[:n])
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// begin reads the line before a chunk.
func (c *chunks) begin() error {
	line, err := c.in.ReadSlice('\n')
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err == bufio.ErrBufferFull || err == nil && len(line) > maxChunkLine {
		return errChunk
	}
	if err != nil {
		return err
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok {
		return errChunk
	}
	length, extension, extended := strings.Cut(text, ";")
	size, err := strconv.ParseUint(length, 16, 63)
	if err != nil || c.signed != extended {
		return errChunk
	}
	if c.signed {
		if c.want, ok = strings.CutPrefix(extension, "chunk-signature="); !ok {
			return errChunk
		}
		c.hash.Reset()
	}
	if c.number > 0 && size > 0 && c.size < minChunk {
		return &Error{"InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes", 403,
			[]Field{{"Chunk", strconv.Itoa(c.number)}, {"BadChunkSize", strconv.FormatInt(c.size, 10)}}}
	}
	if int64(size) > c.body.length-c.total {
		return errIncomplete // more than x-amz-decoded-content-length
	}
	c.number++
	c.size, c.left = int64(size), int64(size)
	c.total += int64(size)
	return nil
}

// end reads the line end after a chunk and verifies the chunk.
func (c *chunks) end() error {
	for _, want := range []byte("\r\n") {
		b, err := c.in.ReadByte()
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if b != want {
			return errChunk
		}
	}
	return c.verifyChunk()
}

func (c *chunks) verifyChunk() error {
	if !c.signed {
		return nil
	}
	return c.verify("AWS4-HMAC-SHA256-PAYLOAD", emptyHash+"\n"+hex.EncodeToString(c.hash.Sum(nil)), c.want)
}

// finish verifies the last chunk, which is empty, and reads the trailers up to the end of
// the body. Clients end them in different ways ("\n", "\r\n", "\n\r\n"), so lines
// are taken as they come and empty ones mean nothing; but nothing else may follow.
func (c *chunks) finish() error {
	if err := c.verifyChunk(); err != nil {
		return err
	}
	rest, err := io.ReadAll(io.LimitReader(c.in, maxTrailer+1))
	if err != nil {
		return err
	}
	if len(rest) > maxTrailer {
		return errTrailer
	}
	var value, signature string
	var signedText []byte
	for line := range bytes.SplitSeq(rest, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			continue
		}
		name, text, ok := strings.Cut(string(line), ":")
		name, text = strings.ToLower(name), strings.TrimSpace(text)
		switch {
		case !ok || !c.trailers || signature != "":
			return errTrailer
		case name == "x-amz-trailer-signature" && c.signed:
			signature = text
		case name == c.body.trailer && value == "":
			value = text
			signedText = append(signedText, name+":"+text+"\n"...)
		default:
			return errTrailer
		}
	}
	if (value == "") != (c.body.trailer == "") {
		return errTrailer
	}
	if c.signed && c.trailers {
		h := sha256.Sum256(signedText)
		if err := c.verify("AWS4-HMAC-SHA256-TRAILER", hex.EncodeToString(h[:]), signature); err != nil {
			return err
		}
	}
	if value != "" {
		if !c.body.kind.valid(value) {
			return &Error{"InvalidRequest", "Value for " + c.body.trailer + " trailing header is invalid.", 400, nil}
		}
		c.body.wantChecksum = value
	}
	return nil
}

// verify compares the signature of a chunk or of the trailers, which continues the one before.
func (c *chunks) verify(word, hashes, signature string) error {
	toSign := word + "\n" + c.sig.Time.Format(basicISO) + "\n" +
		c.sig.Date + "/" + c.sig.Region + "/" + c.sig.Service + "/" + terminator + "\n" + c.last + "\n" + hashes
	got := sum(c.sig.key[:], []byte(toSign))
	if !hmac.Equal([]byte(hex.EncodeToString(got[:])), []byte(signature)) {
		return &Error{"SignatureDoesNotMatch", s3Mismatch, 403, []Field{{"AWSAccessKeyId", c.sig.AccessKeyID},
			{"StringToSign", toSign}, {"SignatureProvided", signature}, {"StringToSignBytes", hexBytes([]byte(toSign))}}}
	}
	c.last = signature
	return nil
}

var (
	errChunk   = &Error{"IncompleteBody", "The request body terminated unexpectedly", 400, nil}
	errTrailer = &Error{"MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.", 400, nil}
)
