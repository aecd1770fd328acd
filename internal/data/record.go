package data

import (
	"encoding/binary"
	"time"
)

// Records are written as fields: a tag, the length, the bytes. Fields without a
// value are left out, and a reader steps over tags that it does not know, so that
// a field can be added without rewriting what is stored. A tag is never used for
// another thing again.
const (
	tagVersionID = iota + 1
	tagDeleteMarker
	tagSize
	tagETag
	tagModified
	tagContentType
	tagCacheControl
	tagContentDisposition
	tagContentEncoding
	tagContentLanguage
	tagExpires
	tagWebsiteRedirect
	tagStorageClass
	tagEncryption
	tagMetadata
	tagTag
	tagChecksumAlgorithm
	tagChecksumValue
	tagChecksumType
	tagPart
	tagUploadID
	tagNumber
	tagFile
	tagInline
	tagInitiator
)

func appendField[T string | []byte](b []byte, tag byte, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendNumber(b []byte, tag byte, n int64) []byte {
	if n == 0 {
		return b
	}
	var v [binary.MaxVarintLen64]byte
	return appendField(b, tag, v[:binary.PutVarint(v[:], n)])
}

func appendPair(b []byte, tag byte, key, value string) []byte {
	pair := binary.AppendUvarint(nil, uint64(len(key)))
	pair = append(append(pair, key...), value...)
	return appendField(b, tag, pair)
}

func appendTime(b []byte, tag byte, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendNumber(b, tag, t.UnixMilli())
}

// next cuts the first field off. The record was written by this package: one that
// cannot be read is a damaged database, and there is nothing to do but stop.
func next(b []byte) (tag byte, v, rest []byte) {
	n, w := binary.Uvarint(b[1:])
	if w <= 0 || uint64(len(b)-1-w) < n {
		panic("data: a record is damaged")
	}
	return b[0], b[1+w : 1+w+int(n)], b[1+w+int(n):]
}

func number(v []byte) int64 {
	n, w := binary.Varint(v)
	if w <= 0 {
		panic("data: a number in a record is damaged")
	}
	return n
}

func moment(v []byte) time.Time { return time.UnixMilli(number(v)).UTC() }

func pair(v []byte) (key, value string) {
	n, w := binary.Uvarint(v)
	if w <= 0 || uint64(len(v)-w) < n {
		panic("data: a pair in a record is damaged")
	}
	return string(v[w : w+int(n)]), string(v[w+int(n):])
}

// text copies v, except where it is a word that most records hold.
func text(v []byte) string {
	switch string(v) {
	case "null":
		return "null"
	case "STANDARD":
		return "STANDARD"
	case "AES256":
		return "AES256"
	case "CRC32":
		return "CRC32"
	case "CRC64NVME":
		return "CRC64NVME"
	case "FULL_OBJECT":
		return "FULL_OBJECT"
	}
	return string(v)
}

func appendObject(b []byte, o *Object) []byte {
	b = appendField(b, tagVersionID, o.VersionID)
	if o.DeleteMarker {
		b = appendNumber(b, tagDeleteMarker, 1)
	}
	b = appendNumber(b, tagSize, o.Size)
	b = appendField(b, tagETag, o.ETag)
	b = appendTime(b, tagModified, o.Modified)
	b = appendField(b, tagContentType, o.ContentType)
	b = appendField(b, tagCacheControl, o.CacheControl)
	b = appendField(b, tagContentDisposition, o.ContentDisposition)
	b = appendField(b, tagContentEncoding, o.ContentEncoding)
	b = appendField(b, tagContentLanguage, o.ContentLanguage)
	b = appendField(b, tagExpires, o.Expires)
	b = appendField(b, tagWebsiteRedirect, o.WebsiteRedirect)
	b = appendField(b, tagStorageClass, o.StorageClass)
	b = appendField(b, tagEncryption, o.Encryption)
	for k, v := range o.Metadata {
		b = appendPair(b, tagMetadata, k, v)
	}
	for _, t := range o.Tags {
		b = appendPair(b, tagTag, t.Key, t.Value)
	}
	b = appendChecksum(b, o.Checksum)
	b = appendField(b, tagUploadID, o.UploadID)
	for i := range o.Parts {
		b = appendField(b, tagPart, appendPart(nil, &o.Parts[i]))
	}
	return b
}

// decodeObject reads a record into o. What it keeps is copied, because the record
// is only there while its transaction is. Without whole, the parts, tags and user
// metadata, which listings do not show, are left out.
func decodeObject(o *Object, b []byte, whole bool) {
	var tag byte
	var v []byte
	for len(b) > 0 {
		switch tag, v, b = next(b); tag {
		case tagVersionID:
			o.VersionID = text(v)
		case tagDeleteMarker:
			o.DeleteMarker = true
		case tagSize:
			o.Size = number(v)
		case tagETag:
			o.ETag = string(v)
		case tagModified:
			o.Modified = moment(v)
		case tagContentType:
			o.ContentType = string(v)
		case tagCacheControl:
			o.CacheControl = string(v)
		case tagContentDisposition:
			o.ContentDisposition = string(v)
		case tagContentEncoding:
			o.ContentEncoding = string(v)
		case tagContentLanguage:
			o.ContentLanguage = string(v)
		case tagExpires:
			o.Expires = string(v)
		case tagWebsiteRedirect:
			o.WebsiteRedirect = string(v)
		case tagStorageClass:
			o.StorageClass = text(v)
		case tagEncryption:
			o.Encryption = text(v)
		case tagMetadata:
			if whole {
				if o.Metadata == nil {
					o.Metadata = map[string]string{}
				}
				key, value := pair(v)
				o.Metadata[key] = value
			}
		case tagTag:
			if whole {
				key, value := pair(v)
				o.Tags = append(o.Tags, Tag{key, value})
			}
		case tagPart:
			if whole {
				o.Parts = append(o.Parts, decodePart(v))
			}
		case tagUploadID:
			o.UploadID = string(v)
		default:
			decodeChecksum(&o.Checksum, tag, v)
		}
	}
}

func appendChecksum(b []byte, c Checksum) []byte {
	b = appendField(b, tagChecksumAlgorithm, c.Algorithm)
	b = appendField(b, tagChecksumValue, c.Value)
	return appendField(b, tagChecksumType, c.Type)
}

func decodeChecksum(c *Checksum, tag byte, v []byte) {
	switch tag {
	case tagChecksumAlgorithm:
		c.Algorithm = text(v)
	case tagChecksumValue:
		c.Value = string(v)
	case tagChecksumType:
		c.Type = text(v)
	}
}

func appendPart(b []byte, p *Part) []byte {
	b = appendNumber(b, tagNumber, int64(p.Number))
	b = appendNumber(b, tagSize, p.Size)
	b = appendField(b, tagETag, p.ETag)
	b = appendTime(b, tagModified, p.Modified)
	b = appendChecksum(b, p.Checksum)
	b = appendField(b, tagFile, p.file)
	return appendField(b, tagInline, p.inline)
}

func decodePart(b []byte) Part {
	var p Part
	var tag byte
	var v []byte
	for len(b) > 0 {
		switch tag, v, b = next(b); tag {
		case tagNumber:
			p.Number = int(number(v))
		case tagSize:
			p.Size = number(v)
		case tagETag:
			p.ETag = string(v)
		case tagModified:
			p.Modified = moment(v)
		case tagFile:
			p.file = string(v)
		case tagInline:
			p.inline = append([]byte(nil), v...)
		default:
			decodeChecksum(&p.Checksum, tag, v)
		}
	}
	return p
}

// An upload is kept as the object that it will become, with its id in the place of
// the version's, and who began it.
func appendUpload(b []byte, u *Upload) []byte {
	o := u.Object
	o.VersionID = u.ID
	return appendField(appendObject(b, &o), tagInitiator, u.Initiator)
}

func decodeUpload(u *Upload, b []byte) {
	decodeObject(&u.Object, b, true)
	u.ID, u.VersionID = u.VersionID, ""
	for len(b) > 0 {
		tag, v, rest := next(b)
		if tag == tagInitiator {
			u.Initiator = string(v)
		}
		b = rest
	}
}
