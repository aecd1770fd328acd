package s3

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"reflect"
	"strconv"

	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
)

// An algorithm is one that S3 takes checksums in.
type algorithm struct {
	name string
	new  func() hash.Hash
	// Of a CRC: its polynomial, reflected, and width, by which the checksum of a whole
	// can be had from those of its parts. 0 for others.
	poly  uint64
	width int
}

var algorithms = []algorithm{
	{"CRC64NVME", func() hash.Hash { return crc64.New(nvme) }, nvmePoly, 64},
	{"CRC32", func() hash.Hash { return crc32.NewIEEE() }, crc32.IEEE, 32},
	{"CRC32C", func() hash.Hash { return crc32.New(castagnoli) }, crc32.Castagnoli, 32},
	{"SHA1", sha1.New, 0, 0},
	{"SHA256", sha256.New, 0, 0},
	{"SHA512", sha512.New, 0, 0},
	{"MD5", md5.New, 0, 0},
}

const nvmePoly = 0x9a6c9329ac4bc9b5 // NVM Express NVM Command Set Specification, 5.2.1.3.4, reflected

var (
	nvme       = crc64.MakeTable(nvmePoly)
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// crc64nvme is what S3 takes where the caller asks for nothing.
const crc64nvme = "CRC64NVME"

const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

// algorithmOf returns an error for a name that we do not serve, such as the XXHash kinds.
func algorithmOf(name string) (*algorithm, error) {
	for i := range algorithms {
		if algorithms[i].name == name {
			return &algorithms[i], nil
		}
	}
	return nil, api.InvalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5]")
}

// Bits of a CRC are reflected, so x to the power 0 is the highest bit.

// multiply multiplies two polynomials, modulo the algorithm's.
func (a *algorithm) multiply(p, q uint64) uint64 {
	var product uint64
	for bit := uint64(1) << (a.width - 1); bit != 0; bit >>= 1 {
		if p&bit != 0 {
			product ^= q
		}
		if q&1 != 0 {
			q = q>>1 ^ a.poly
		} else {
			q >>= 1
		}
	}
	return product
}

// shift is x to the power of a length in bits.
func (a *algorithm) shift(length int64) uint64 {
	power := uint64(1) << (a.width - 1)
	for square, bits := power>>1, uint64(length)*8; bits != 0; bits >>= 1 {
		if bits&1 != 0 {
			power = a.multiply(power, square)
		}
		square = a.multiply(square, square)
	}
	return power
}

// whole returns the checksum of an object made of parts, each of which has one of
// this algorithm.
func (a *algorithm) whole(parts []data.Part, typ string) (string, error) {
	if typ == composite {
		h := a.new()
		for _, p := range parts {
			sum, err := base64.StdEncoding.DecodeString(p.Checksum.Value)
			if err != nil {
				return "", err
			}
			h.Write(sum)
		}
		return base64.StdEncoding.EncodeToString(h.Sum(nil)) + "-" + strconv.Itoa(len(parts)), nil
	}
	// The CRC of two texts together: that of the first, shifted by the length of the
	// second, plus that of the second.
	var crc, shift uint64
	var room [8]byte
	length := int64(-1)
	for _, p := range parts {
		if p.Size != length { // mostly all have the same
			length, shift = p.Size, a.shift(p.Size)
		}
		sum, err := base64.StdEncoding.DecodeString(p.Checksum.Value)
		if err != nil {
			return "", err
		}
		clear(room[:])
		copy(room[8-a.width/8:], sum)
		crc = a.multiply(shift, crc) ^ binary.BigEndian.Uint64(room[:])
	}
	binary.BigEndian.PutUint64(room[:], crc)
	return base64.StdEncoding.EncodeToString(room[8-a.width/8:]), nil
}

// typeOf is the checksum type of a multipart upload: what the caller asked for where
// the algorithm has it, or the algorithm's default. SHA checksums cannot be combined
// and CRC64NVME is always combined (User Guide, "Checking object integrity").
func (a *algorithm) typeOf(asked string) (string, error) {
	switch {
	case asked == "" && a.name == crc64nvme:
		return fullObject, nil
	case asked == "":
		return composite, nil
	case asked == composite && a.name == crc64nvme, asked == fullObject && a.width == 0:
		return "", api.InvalidRequest("The %s checksum type cannot be used with the %s checksum algorithm.", asked, lower(a.name))
	}
	return asked, nil
}

// summed is a body that knows its checksum once it was read to its end: the body of a
// request, which was compared with what the request says.
type summed interface {
	Checksum() (algorithm, value string)
}

// A summer reads a body and has a checksum of it in one algorithm.
type summer struct {
	io.Reader
	body io.Reader
	want *algorithm
	hash hash.Hash // nil when the body itself has it
}

// newSummer reads body, of which a checksum in the algorithm is wanted. sent is the
// algorithm of the checksum that the body is known to come with.
func newSummer(body io.Reader, want *algorithm, sent string) *summer {
	s := &summer{Reader: body, body: body, want: want}
	if _, ok := body.(summed); !ok || sent != want.name {
		s.hash = want.new()
		s.Reader = io.TeeReader(body, s.hash)
	}
	return s
}

func (s *summer) value() string {
	if s.hash != nil {
		return base64.StdEncoding.EncodeToString(s.hash.Sum(nil))
	}
	_, value := s.body.(summed).Checksum()
	return value
}

// setChecksum sets the members of a shape that hold a checksum and its type.
func setChecksum(shape any, c data.Checksum) {
	if c.Value == "" {
		return
	}
	v := reflect.ValueOf(shape).Elem()
	v.FieldByName("Checksum" + c.Algorithm).SetString(c.Value)
	if t := v.FieldByName("ChecksumType"); t.IsValid() {
		t.SetString(c.Type)
	}
}

// checksumIn returns the checksum that an input or a completed part has.
func checksumIn(shape any) data.Checksum {
	v := reflect.ValueOf(shape).Elem()
	for i := range algorithms {
		if value := v.FieldByName("Checksum" + algorithms[i].name).String(); value != "" {
			return data.Checksum{Algorithm: algorithms[i].name, Value: value}
		}
	}
	return data.Checksum{}
}
