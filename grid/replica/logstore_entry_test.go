package replica

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func storedForm(group uint32, e *storedEntry) (key, value []byte) {
	key = logKey(group, e.Index)
	value = make([]byte, checksumLen+entryBodyLen(e))
	putEntryValue(value, key, e)
	return key, value
}

func TestLogEntryEncodingIsFixed(t *testing.T) {
	// The bytes of a stored entry, vote and first index never change within a format: these are the ones of format 1.
	cases := []struct {
		name       string
		entry      storedEntry
		key, value string
	}{
		{
			name: "command",
			entry: storedEntry{commit: 299, Log: raft.Log{
				Index: 300, Term: 7, Type: raft.LogCommand, Data: []byte("data"), Extensions: []byte("ex"),
				AppendedAt: time.Unix(1_700_000_000, 42).UTC(),
			}},
			key:   "0000000a" + "6c" + "000000000000012c",
			value: "123e986f" + "01" + "00" + "07" + "ab02" + "d480d0e2c6bfce972f" + "02" + "6578" + "64617461",
		},
		{
			name:  "no-op without time, data and commit",
			entry: storedEntry{Log: raft.Log{Index: 1, Term: 1, Type: raft.LogNoop}},
			key:   "0000000a" + "6c" + "0000000000000001",
			value: "488b7c19" + "01" + "01" + "01" + "00" + "00" + "00",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			key, value := storedForm(10, &c.entry)
			if got := hex.EncodeToString(key); got != c.key {
				t.Errorf("key\n got %s\nwant %s", got, c.key)
			}
			if got := hex.EncodeToString(value); got != c.value {
				t.Errorf("value\n got %s\nwant %s", got, c.value)
			}
		})
	}
	voteKey := groupPrefix(10, kindVote)
	voteValue := sealValue(voteKey, encodeVote(vote{term: 7, candidate: []byte("m1")}))
	firstKey := groupPrefix(10, kindFirst)
	for _, c := range []struct{ name, got, want string }{
		{"vote key", hex.EncodeToString(voteKey), "0000000a" + "76"},
		{"vote", hex.EncodeToString(voteValue), "29f9e92f" + "01" + "0000000000000007" + "6d31"},
		{"first key", hex.EncodeToString(firstKey), "0000000a" + "66"},
		{"stable key", hex.EncodeToString(namedKey(10, kindStable, "CurrentTerm")), "0000000a" + "73" + hex.EncodeToString([]byte("CurrentTerm"))},
		{"member key", hex.EncodeToString(namedKey(memberGroup, kindMeta, "id")), "ffffffff" + "6d" + "6964"},
	} {
		if c.got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.name, c.got, c.want)
		}
	}
}

func TestLogEntryKeepsOddTimes(t *testing.T) {
	// A time that cannot be expressed is unknown, never another time.
	for _, c := range []struct{ in, want time.Time }{
		{time.Time{}, time.Time{}},
		{time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), time.Time{}},
		{time.Date(9999, 1, 2, 0, 0, 0, 0, time.UTC), time.Time{}},
		{time.Date(1969, 1, 2, 0, 0, 0, 1, time.UTC), time.Date(1969, 1, 2, 0, 0, 0, 1, time.UTC)},
		{time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 7200)), time.Date(2026, 1, 2, 1, 4, 5, 6, time.UTC)},
	} {
		_, value := storedForm(1, &storedEntry{Log: raft.Log{Index: 1, AppendedAt: c.in}})
		got, err := decodeEntryBody(value[checksumLen:])
		if err != nil || !got.AppendedAt.Equal(c.want) {
			t.Errorf("%v came back as %v, %v; want %v", c.in, got.AppendedAt, err, c.want)
		}
	}
}

func FuzzLogEntryBody(f *testing.F) {
	// No bytes make the decoder panic; what it accepts, it encodes to something that decodes to the same entry.
	_, value := storedForm(1, &storedEntry{commit: 4, Log: *testEntries(5, 5, 2)[0]})
	f.Add(value[checksumLen:])
	f.Add([]byte{entryFormat, 0, 1, 0, 0, 0})
	f.Add([]byte{entryFormat, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := decodeEntryBody(body)
		if err != nil {
			return
		}
		if len(e.Data)+len(e.Extensions) > len(body) {
			t.Fatalf("%d bytes decoded from %d", len(e.Data)+len(e.Extensions), len(body))
		}
		_, value := storedForm(1, &e)
		again, err := decodeEntryBody(value[checksumLen:])
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%+v came back as %+v, %v", e, again, err)
		}
	})
}

func FuzzVote(f *testing.F) {
	// No bytes make the decoder panic; what it accepts, it encodes to the same bytes.
	f.Add(encodeVote(vote{term: 1, candidate: []byte("m1")}))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := decodeVote(body)
		if err == nil && !bytes.Equal(encodeVote(v), body) {
			t.Fatalf("%x came back as %x", body, encodeVote(v))
		}
	})
}
