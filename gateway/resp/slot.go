package resp

import "bytes"

// slots is the number of hash slots of a Redis Cluster.
const slots = 16384

// KeySlot returns the hash slot of a key, 0 to 16383, as Redis Cluster places
// it: CRC-16/XMODEM of the key, or of its hash tag, the part between the first
// '{' and the first '}' behind it, if that is not empty.
func KeySlot(key []byte) int {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		if size := bytes.IndexByte(key[open+1:], '}'); size > 0 {
			key = key[open+1 : open+1+size]
		}
	}
	return int(crc16(key)) % slots
}

// crcNibbles holds the remainders of the 16 values of four bits, by the
// polynomial x^16 + x^12 + x^5 + 1.
var crcNibbles = [16]uint16{
	0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
	0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
}

func crc16(b []byte) uint16 {
	crc := uint16(0)
	for _, c := range b {
		crc = crc<<4 ^ crcNibbles[crc>>12^uint16(c>>4)]
		crc = crc<<4 ^ crcNibbles[crc>>12^uint16(c&0xf)]
	}
	return crc
}
