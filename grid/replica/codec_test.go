package replica

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// codec is how one message crosses: its encoder and decoder over a pointer to
// the message.
type codec struct {
	name   string
	fresh  func() any
	encode func([]byte, any) []byte
	parse  func(*wire.Parser) any
}

// messages lists every message that crosses.
var messages = []codec{
	message("AppendEntriesRequest", appendAppendEntries, parseAppendEntries),
	message("AppendEntriesResponse", appendAppendEntriesResponse, pointer(parseAppendEntriesResponse)),
	message("RequestVoteRequest", appendRequestVote, parseRequestVote),
	message("RequestVoteResponse", appendRequestVoteResponse, pointer(parseRequestVoteResponse)),
	message("RequestPreVoteRequest", appendRequestPreVote, parseRequestPreVote),
	message("RequestPreVoteResponse", appendRequestPreVoteResponse, pointer(parseRequestPreVoteResponse)),
	message("InstallSnapshotRequest", appendInstallSnapshot, parseInstallSnapshot),
	message("InstallSnapshotResponse", appendInstallSnapshotResponse, pointer(parseInstallSnapshotResponse)),
	message("TimeoutNowRequest", appendTimeoutNow, parseTimeoutNow),
	message("TimeoutNowResponse", appendTimeoutNowResponse, pointer(parseTimeoutNowResponse)),
	message("confirm", func(dst []byte, c *confirmation) []byte { return appendConfirm(dst, c.Items) },
		func(p *wire.Parser) *confirmation { return &confirmation{parseConfirm(p)} }),
}

type confirmation struct{ Items []ConfirmItem }

func message[T any](name string, encode func([]byte, *T) []byte, parse func(*wire.Parser) *T) codec {
	return codec{
		name:   name,
		fresh:  func() any { return new(T) },
		encode: func(dst []byte, v any) []byte { return encode(dst, v.(*T)) },
		parse:  func(p *wire.Parser) any { return parse(p) },
	}
}

func pointer[T any](parse func(*wire.Parser) T) func(*wire.Parser) *T {
	return func(p *wire.Parser) *T {
		v := parse(p)
		return &v
	}
}

// fill gives every field of v a random value, whatever fields raft may have, so
// that a field which the codec does not know fails the test.
func fill(t *rapid.T, v reflect.Value, name string) {
	switch v.Interface().(type) {
	case []byte:
		if b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, name); len(b) > 0 {
			v.SetBytes(b)
		}
		return
	case time.Time:
		if rapid.Bool().Draw(t, name+" set") {
			v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, name), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Slice:
		if n := rapid.IntRange(0, 5).Draw(t, name); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, v.Index(i), name)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), name)
	case reflect.Uint64, reflect.Uint32, reflect.Uint8:
		v.SetUint(rapid.Uint64().Draw(t, name) >> (64 - v.Type().Bits()))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64Min(0).Draw(t, name))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.String:
		v.SetString(rapid.StringN(0, 20, 100).Draw(t, name))
	default:
		t.Fatalf("field %s has kind %v, which this test cannot fill", name, v.Kind())
	}
}

// Every field of every message comes back as it was.
func TestMessagesRoundTrip(t *testing.T) {
	for _, m := range messages {
		t.Run(m.name, rapid.MakeCheck(func(t *rapid.T) {
			in := m.fresh()
			fill(t, reflect.ValueOf(in).Elem(), m.name)
			p := wire.NewParser(m.encode(nil, in))
			out := m.parse(p)
			if err := p.End(); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(in, out) {
				t.Fatalf("sent %+v\ngot %+v", in, out)
			}
		}))
	}
}

// A reply overwrites everything that an earlier one has left in the value; a
// reply that cannot be read leaves it alone.
func TestRepliesOverwriteEveryField(t *testing.T) {
	old := raft.AppendEntriesResponse{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("x"), Addr: []byte("y")},
		Term:      9, LastLog: 9, Success: true, NoRetryBackoff: true,
	}
	resp := old
	if err := parseReply(appendAppendEntriesResponse(nil, &raft.AppendEntriesResponse{})[:1], parseAppendEntriesResponse, &resp); err == nil || !reflect.DeepEqual(resp, old) {
		t.Errorf("after half a reply: %+v, %v", resp, err)
	}
	if err := parseReply(appendAppendEntriesResponse(nil, &raft.AppendEntriesResponse{}), parseAppendEntriesResponse, &resp); err != nil || !reflect.DeepEqual(resp, raft.AppendEntriesResponse{}) {
		t.Errorf("after an empty reply: %+v, %v", resp, err)
	}
}

// A count of entries takes memory only for what the bytes can hold.
func TestAnnouncedEntriesTakeNoMemory(t *testing.T) {
	request := appendAppendEntries(nil, &raft.AppendEntriesRequest{})
	request = append(request[:len(request)-1], 0xff, 0x07) // 1023 entries, and no byte of them
	allocated := testing.AllocsPerRun(10, func() {
		p := wire.NewParser(request)
		if r := parseAppendEntries(p); p.End() == nil || r.Entries != nil {
			t.Error("entries out of nothing")
		}
	})
	if allocated > 10 {
		t.Errorf("%v allocations", allocated)
	}
}

// The data of received entries aliases the body, which nobody else owns, and
// cannot grow into its neighbour.
func TestEntriesAliasTheirBody(t *testing.T) {
	body := appendAppendEntries(nil, &raft.AppendEntriesRequest{Entries: []*raft.Log{{Index: 1, Data: []byte("first")}, {Index: 2, Data: []byte("second")}}})
	r := parseAppendEntries(wire.NewParser(body))
	_ = append(r.Entries[0].Data, "overrun"...)
	if string(r.Entries[1].Data) != "second" {
		t.Errorf("appending to one entry changed another: %q", r.Entries[1].Data)
	}
	body[bytes.Index(body, []byte("first"))] = 'F'
	if string(r.Entries[0].Data) != "First" {
		t.Error("entry data was copied")
	}
}

// Known errors keep their identity across a connection, and raft's own keep
// their text.
func TestErrorsKeepTheirIdentity(t *testing.T) {
	for _, known := range errorCodes {
		if got := decodeError(encodeError(known.err)); got != known.err {
			t.Errorf("%v became %v", known.err, got)
		}
	}
	const text = "unexpected command"
	if got := decodeError(encodeError(&wire.Error{Message: text})); got.Error() != text {
		t.Errorf("raft's error became %q", got)
	}
}

// A request is shortened to what fits, and never to nothing.
func TestFittingSendsAtLeastOneEntry(t *testing.T) {
	entry := func(size int) *raft.Log { return &raft.Log{Data: make([]byte, size)} }
	for _, c := range []struct {
		sizes []int
		limit int
		want  int
	}{
		{nil, 100, 0},
		{[]int{1000}, 10, 1},
		{[]int{1000, 1}, 10, 1},
		{[]int{10, 10, 10}, 1 << 20, 3},
		{[]int{100, 100, 100}, 2 * (100 + 64), 2},
	} {
		var entries []*raft.Log
		for _, size := range c.sizes {
			entries = append(entries, entry(size))
		}
		if got := fitting(entries, c.limit); len(got) != c.want {
			t.Errorf("entries of %v bytes within %d: %d sent, want %d", c.sizes, c.limit, len(got), c.want)
		}
	}
	for _, l := range []*raft.Log{{}, {Index: 1<<64 - 1, Term: 1<<64 - 1, Type: 255, Data: make([]byte, 1<<20), Extensions: make([]byte, 1<<20), AppendedAt: time.Unix(1<<40, 999999999)}} {
		if got := len(appendLog(nil, l)); got > logSize(l) {
			t.Errorf("an entry takes %d bytes, logSize says %d", got, logSize(l))
		}
		if got := len(appendLog(nil, l)); got < minEntry {
			t.Errorf("an entry takes %d bytes, minEntry says %d", got, minEntry)
		}
	}
}

// No bytes make a decoder panic, and whatever it accepts it encodes to
// something that means the same.
func FuzzMessages(f *testing.F) {
	for i, m := range messages {
		f.Add(byte(i), m.encode(nil, m.fresh()))
	}
	f.Add(byte(0), appendAppendEntries(nil, &raft.AppendEntriesRequest{Term: 7, Entries: []*raft.Log{{Index: 1, Data: []byte("x"), AppendedAt: time.Unix(1, 2)}}}))
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		m := messages[int(which)%len(messages)]
		p := wire.NewParser(body)
		first := m.parse(p)
		if p.End() != nil {
			return
		}
		p = wire.NewParser(m.encode(nil, first))
		second := m.parse(p)
		if err := p.End(); err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%s: %+v became %+v, %v", m.name, first, second, err)
		}
	})
}

// Messages of any length are answered with an error when they are cut short.
func TestCutMessagesAreRefused(t *testing.T) {
	full := appendInstallSnapshot(nil, &raft.InstallSnapshotRequest{Leader: []byte("leader"), Configuration: []byte(strings.Repeat("c", 50)), Size: 1 << 40})
	for n := range full {
		p := wire.NewParser(full[:n])
		parseInstallSnapshot(p)
		if p.End() == nil {
			t.Errorf("%d of %d bytes were enough", n, len(full))
		}
	}
}
