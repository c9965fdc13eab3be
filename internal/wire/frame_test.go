package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// Frames come back as they were, whatever pieces they arrive in.
func TestFramesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 100, firstChunk, firstChunk + 1, 5*firstChunk + 7}), 1, 4).Draw(t, "sizes")
		var stream []byte
		var want []Frame
		for i, size := range sizes {
			f := Frame{Kind: rapid.Byte().Draw(t, "kind"), ID: rapid.Uint64().Draw(t, "id")}
			if size > 0 {
				f.Body = bytes.Repeat([]byte{byte(i + 1)}, size)
			}
			want = append(want, f)
			stream = AppendFrame(stream, f.Kind, f.ID, Bytes(f.Body))
		}
		var r io.Reader = bytes.NewReader(stream)
		if rapid.Bool().Draw(t, "halves") {
			r = iotest.HalfReader(r)
		}
		fr := NewFrameReader(r, 0)
		for _, f := range want {
			got, err := fr.Next()
			if err != nil || got.Kind != f.Kind || got.ID != f.ID || !bytes.Equal(got.Body, f.Body) {
				t.Fatalf("frame (%d, %d, %d bytes) became (%d, %d, %d bytes), %v", f.Kind, f.ID, len(f.Body), got.Kind, got.ID, len(got.Body), err)
			}
			if cap(got.Body) != len(got.Body) {
				t.Fatalf("a body of %d bytes holds %d", len(got.Body), cap(got.Body))
			}
		}
		if _, err := fr.Next(); err != io.EOF {
			t.Fatalf("after the last frame: %v", err)
		}
	})
}

// A length takes no memory until its bytes arrive.
func TestDeclaredLengthTakesNoMemory(t *testing.T) {
	header := binary.BigEndian.AppendUint32(nil, DefaultMaxFrame)
	header = append(header, make([]byte, frameFixed+100)...)
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := NewFrameReader(bytes.NewReader(header), 0).Next(); err != io.ErrUnexpectedEOF {
				b.Fatal(err)
			}
		}
	})
	if got := result.AllocedBytesPerOp(); got > 2*firstChunk {
		t.Errorf("%d bytes allocated for 100 received", got)
	}
}

// Lengths that cannot be are refused before anything is read.
func TestImpossibleLengthsAreRefused(t *testing.T) {
	for _, c := range []struct {
		length uint32
		want   error
	}{{0, ErrProtocol}, {frameFixed - 1, ErrProtocol}, {1001, ErrFrameTooLarge}, {1<<32 - 1, ErrFrameTooLarge}} {
		stream := append(binary.BigEndian.AppendUint32(nil, c.length), make([]byte, 20)...)
		if _, err := NewFrameReader(bytes.NewReader(stream), 1000).Next(); !errors.Is(err, c.want) {
			t.Errorf("length %d: %v", c.length, err)
		}
	}
}

// No bytes make the reader panic or return more than it was given.
func FuzzFrameReader(f *testing.F) {
	f.Add(AppendFrame(AppendFrame(nil, 1, 2, Bytes([]byte("x"))), 3, 4, nil))
	f.Fuzz(func(t *testing.T, stream []byte) {
		fr := NewFrameReader(bytes.NewReader(stream), 1<<20)
		total := 0
		for {
			frame, err := fr.Next()
			if err != nil {
				break
			}
			total += frameHeader + len(frame.Body)
		}
		if total > len(stream) {
			t.Errorf("%d bytes of frames in %d", total, len(stream))
		}
	})
}

// The Parser gives back what the Append helpers wrote.
func TestFieldsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, i := rapid.Uint64().Draw(t, "u"), rapid.Int64().Draw(t, "i")
		b, s, v := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "b"), rapid.String().Draw(t, "s"), rapid.Bool().Draw(t, "v")
		body := binary.AppendUvarint(nil, u)
		body = binary.AppendVarint(body, i)
		body = AppendBool(AppendString(AppendBytes(body, b), s), v)
		body = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(body, uint32(u)), u)
		p := NewParser(body)
		if p.Uvarint() != u || p.Varint() != i || !bytes.Equal(p.Bytes(300), b) || p.String(1<<20) != s || p.Bool() != v ||
			uint64(p.Uint32()) != u&math.MaxUint32 || p.Uint64() != u || p.End() != nil {
			t.Fatal("a field changed")
		}
	})
}

// The first error sticks, says what is wrong, and everything after it is zero.
func TestParserErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		body  []byte
		parse func(*Parser)
		want  error
	}{
		{"nothing there", nil, func(p *Parser) { p.Byte() }, ErrTruncated},
		{"half an integer", []byte{1, 2}, func(p *Parser) { p.Uint32() }, ErrTruncated},
		{"half a varint", []byte{0x80}, func(p *Parser) { p.Uvarint() }, ErrTruncated},
		{"varint of 11 bytes", bytes.Repeat([]byte{0xff}, 11), func(p *Parser) { p.Varint() }, ErrMalformed},
		{"bool of 2", []byte{2}, func(p *Parser) { p.Bool() }, ErrMalformed},
		{"field above its limit", []byte{5, 1, 2, 3, 4, 5}, func(p *Parser) { p.Bytes(4) }, ErrFieldTooLong},
		{"length of 2^63", append(binary.AppendUvarint(nil, 1<<63), 1), func(p *Parser) { p.Bytes(1 << 30) }, ErrFieldTooLong},
		{"field without its bytes", []byte{5, 1}, func(p *Parser) { _ = p.String(10) }, ErrTruncated},
		{"bytes left over", []byte{1, 2}, func(p *Parser) { p.Byte() }, ErrTrailing},
	} {
		p := NewParser(c.body)
		c.parse(p)
		if err := p.End(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if p.Byte() != 0 || p.Uvarint() != 0 || p.Bytes(10) != nil || p.Len() != 0 || !errors.Is(p.End(), c.want) {
			t.Errorf("%s: the parser went on", c.name)
		}
	}
}

// An error crosses whole, and is cut to its bounds rather than refused.
func TestErrorFrames(t *testing.T) {
	in := &Error{Code: 65535, Message: "m", Detail: []byte("d")}
	var got *Error
	if err := parseError(appendError(nil, in)); !errors.As(err, &got) || got.Code != in.Code || got.Message != "m" || string(got.Detail) != "d" {
		t.Errorf("%+v became %v", in, err)
	}
	long := &Error{Message: string(make([]byte, 2*maxErrorMessage)), Detail: make([]byte, 2*maxErrorDetail)}
	if err := parseError(appendError(nil, long)); !errors.As(err, &got) || len(got.Message) != maxErrorMessage || len(got.Detail) != maxErrorDetail {
		t.Errorf("a long error became %v", errors.Is(err, ErrProtocol))
	}
	if err := parseError([]byte{1}); !errors.Is(err, ErrProtocol) {
		t.Errorf("half an error became %v", err)
	}
}
