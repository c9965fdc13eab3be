package resp

import "testing"

// CRC-16/XMODEM gives the check value of its catalogue entry.
func TestCRC16(t *testing.T) {
	for in, want := range map[string]uint16{"": 0, "123456789": 0x31c3, "A": 0x58e5} {
		if got := crc16([]byte(in)); got != want {
			t.Errorf("%q: %#04x, want %#04x", in, got, want)
		}
	}
}

// Keys lie in the slots where Redis Cluster puts them; the values are answers
// of CLUSTER KEYSLOT.
func TestKeySlot(t *testing.T) {
	for key, want := range map[string]int{
		"": 0, "foo": 12182, "bar": 5061, "123456789": 12739, "foo{bar}": 5061, "{bar}foo": 5061, "foo{bar}{zap}": 5061,
		"{user1000}.following": 3443, "{user1000}.followers": 3443, "foo{}{bar}": 8363, "foo{{bar}}zap": 4015, "foo{bar": 15278, "}foo{bar}": 5061,
	} {
		if got := KeySlot([]byte(key)); got != want {
			t.Errorf("%q: slot %d, want %d", key, got, want)
		}
	}
}
