package sigv4

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
)

// A checksumKind is an algorithm that S3 takes checksums in. S3 takes the XXHash
// kinds too, which we refuse as unknown.
type checksumKind struct {
	name   string
	header string // of the request, and of the trailer
	size   int
	new    func() hash.Hash
}

var checksumKinds = [...]checksumKind{
	{"CRC64NVME", "x-amz-checksum-crc64nvme", 8, func() hash.Hash { return crc64.New(nvme) }},
	{"CRC32", "x-amz-checksum-crc32", 4, func() hash.Hash { return crc32.NewIEEE() }},
	{"CRC32C", "x-amz-checksum-crc32c", 4, func() hash.Hash { return crc32.New(castagnoli) }},
	{"SHA1", "x-amz-checksum-sha1", sha1.Size, sha1.New},
	{"SHA256", "x-amz-checksum-sha256", sha256.Size, sha256.New},
	{"SHA512", "x-amz-checksum-sha512", sha512.Size, sha512.New},
	{"MD5", "x-amz-checksum-md5", md5.Size, md5.New},
}

var (
	nvme       = crc64.MakeTable(0x9a6c9329ac4bc9b5) // NVM Express NVM Command Set, 5.2.1.3.4, reflected
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// checksumByHeader returns nil for a header that is not that of a checksum.
func checksumByHeader(header string) *checksumKind {
	for i := range checksumKinds {
		if checksumKinds[i].header == header {
			return &checksumKinds[i]
		}
	}
	return nil
}

// valid reports whether value is a checksum of this kind in base64.
func (k *checksumKind) valid(value string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(value)
	return err == nil && len(b) == k.size
}
