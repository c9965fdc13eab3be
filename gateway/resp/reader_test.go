package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// pieces is a source that returns the given pieces one by one, then io.EOF. It
// counts the reads.
type pieces struct {
	pieces [][]byte
	reads  int
}

func (p *pieces) Read(b []byte) (int, error) {
	p.reads++
	if len(p.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.pieces[0])
	if p.pieces[0] = p.pieces[0][n:]; len(p.pieces[0]) == 0 {
		p.pieces = p.pieces[1:]
	}
	return n, nil
}

// transcript is all that a Reader makes of a stream, as text.
func transcript(src io.Reader, authenticated bool, limits Limits) string {
	r := NewReader(src, limits)
	r.SetAuthenticated(authenticated)
	var out strings.Builder
	for {
		commands, err := r.Next()
		for _, c := range commands {
			fmt.Fprintf(&out, "%q\n", c.Args)
		}
		if err != nil {
			fmt.Fprintf(&out, "%v\n", err)
			return out.String()
		}
	}
}

// What Redis makes of a stream, the Reader makes of it.
func TestReaderUnderstandsCommands(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"array", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", `["GET" "k"]`},
		{"empty argument", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", `["ECHO" ""]`},
		{"binary argument", "*1\r\n$4\r\n\r\n\x00$\r\n", `["\r\n\x00$"]`},
		{"pipeline", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n", "[\"PING\"]\n[\"QUIT\"]"},
		{"empty array is nothing", "*0\r\n*-1\r\n*1\r\n$1\r\na\r\n", `["a"]`},
		{"inline", "SET k v\r\n", `["SET" "k" "v"]`},
		{"inline by line feed alone", "PING\nPING\n", "[\"PING\"]\n[\"PING\"]"},
		{"empty lines are nothing", "\r\n\n  \r\nPING\r\n", `["PING"]`},
		{"inline and array mixed", "PING\r\n*1\r\n$1\r\na\r\nPING\r\n", "[\"PING\"]\n[\"a\"]\n[\"PING\"]"},
		{"white space", " \t a\t\vb  \r\n", `["a" "b"]`},
		{"vertical tab within a word", "a\vb\r\n", `["a\vb"]`},
		{"double quotes", `a "b c" "\x41\n\r\t\b\a\q\"\\"` + "\r\n", `["a" "b c" "A\n\r\t\b\aq\"\\"]`},
		{"incomplete hex is an x", `"\x4" "\xg1"` + "\r\n", `["x4" "xg1"]`},
		{"single quotes", `'a\n' 'it\'s' 'a"b'` + "\r\n", `["a\\n" "it's" "a\"b"]`},
		{"quotes within a word", `ab"c d"` + "\r\n", `["abc d"]`},
		{"empty quotes", `"" ''` + "\r\n", `["" ""]`},
		{"a zero byte ends the line", "a b\x00c d\r\n", `["a" "b"]`},
		{"carriage return within", "a\rb\r\n", `["a" "b"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := transcript(strings.NewReader(test.in), true, Limits{})
			if want := test.want + "\nEOF\n"; got != want {
				t.Errorf("%q gives\n%swant\n%s", test.in, got, want)
			}
		})
	}
}

// What is not a command ends the connection with the text Redis uses, after
// the commands before it.
func TestReaderRefusesWithTheTextsOfRedis(t *testing.T) {
	long := strings.Repeat("1", 64<<10)
	for _, test := range []struct {
		name, in, want string
		kind           ProtocolErrorKind
	}{
		{"count is a word", "*x\r\n", "invalid multibulk length", BadFraming},
		{"count is empty", "*\r\n", "invalid multibulk length", BadFraming},
		{"count has a sign", "*+1\r\n", "invalid multibulk length", BadFraming},
		{"count has a leading zero", "*01\r\n", "invalid multibulk length", BadFraming},
		{"count is minus zero", "*-0\r\n", "invalid multibulk length", BadFraming},
		{"count beyond 63 bits", "*99999999999999999999999\r\n", "invalid multibulk length", BadFraming},
		{"largest count", "*9223372036854775807\r\n", "invalid multibulk length", BadFraming},
		{"count above the limit", "*1048577\r\n", "invalid multibulk length", TooLarge},
		{"count without end", "*" + long, "too big mbulk count string", TooLarge},
		{"not a bulk", "*1\r\n:1\r\n", "expected '$', got ':'", BadFraming},
		{"nested array", "*1\r\n*1\r\n$1\r\na\r\n", "expected '$', got '*'", BadFraming},
		{"unprintable", "*1\r\n\x00", `expected '$', got '\x00'`, BadFraming},
		{"null argument", "*1\r\n$-1\r\n", "invalid bulk length", BadFraming},
		{"bulk length is a word", "*1\r\n$a\r\n", "invalid bulk length", BadFraming},
		{"bulk above the limit", "*1\r\n$8388609\r\n", "invalid bulk length", TooLarge},
		{"largest bulk", "*1\r\n$9223372036854775807\r\n", "invalid bulk length", BadFraming},
		{"bulk length without end", "*1\r\n$" + long, "too big bulk count string", TooLarge},
		{"bulk without line end", "*1\r\n$1\r\nabc", "expected CRLF behind a bulk of 1 bytes", BadFraming},
		{"header without line feed", "*1\rx", "invalid multibulk length", BadFraming},
		{"inline without end", strings.Repeat("a", 64<<10), "too big inline request", TooLarge},
		{"inline too long", strings.Repeat("a", 64<<10) + "\r\n", "too big inline request", TooLarge},
		{"quote without end", "a \"b\r\n", "unbalanced quotes in request", BadQuotes},
		{"escape at the end", "\"a\\\r\n", "unbalanced quotes in request", BadQuotes},
		{"text behind a quote", "\"a\"b\r\n", "unbalanced quotes in request", BadQuotes},
		{"zero byte within quotes", "'a\x00'\r\n", "unbalanced quotes in request", BadQuotes},
		{"request above the limit", "*3\r\n" + strings.Repeat("$6291456\r\n"+strings.Repeat("a", 6<<20)+"\r\n", 2) + "$6291456\r\n", "request larger than 16777216 bytes", TooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := NewReader(strings.NewReader("PING\r\n"+test.in), Limits{})
			r.SetAuthenticated(true)
			if commands, err := r.Next(); len(commands) != 1 || err != nil {
				t.Fatalf("before the fault: %q, %v", commands, err)
			}
			for range 2 { // the error stays
				_, err := r.Next()
				fault, ok := errors.AsType[*ProtocolError](err)
				if !ok {
					t.Fatalf("got %v", err)
				}
				if want := "ERR Protocol error: " + test.want; fault.Reply != want || fault.Kind != test.kind {
					t.Errorf("got %q (kind %d), want %q (kind %d)", fault.Reply, fault.Kind, want, test.kind)
				}
			}
		})
	}
}

// Before authentication the small limits hold, and the command that
// authenticates is the last one judged by them.
func TestReaderBeforeAuthentication(t *testing.T) {
	large := "*11\r\n" + strings.Repeat("$1\r\na\r\n", 11)
	value := "*1\r\n$16385\r\n" + strings.Repeat("a", 16385) + "\r\n"
	for in, want := range map[string]string{
		large:                                    "resp: ERR Protocol error: unauthenticated multibulk length\n",
		value:                                    "resp: ERR Protocol error: unauthenticated bulk length\n",
		"a b c d e f g h i j k\r\n":              "resp: ERR Protocol error: unauthenticated multibulk length\n",
		strings.Repeat("a", 16<<10) + "\r\n":     "resp: ERR Protocol error: too big inline request\n",
		"*" + strings.Repeat("1", 16<<10):        "resp: ERR Protocol error: too big mbulk count string\n",
		strings.Repeat("*1\r\n$1\r\na\r\n", 100): strings.Repeat("[\"a\"]\n", 100) + "EOF\n",
	} {
		if got := transcript(strings.NewReader(in), false, Limits{}); got != want {
			t.Errorf("%.40q gives %.200q, want %.200q", in, got, want)
		}
	}
	r := NewReader(strings.NewReader("AUTH secret\r\n"+large+value), Limits{})
	if commands, err := r.Next(); len(commands) != 1 || err != nil {
		t.Fatalf("before authentication a batch has %d commands, %v", len(commands), err)
	}
	r.SetAuthenticated(true)
	commands, err := r.Next()
	if err != nil || len(commands) == 0 || len(commands[0].Args) != 11 {
		t.Fatalf("behind AUTH: %d commands, %v", len(commands), err)
	}
}

// HTTP and TLS are recognised and get no answer, whatever stood before.
func TestReaderCutsForeignProtocols(t *testing.T) {
	for _, in := range []string{
		"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n*1\r\n$8\r\nFLUSHALL\r\n",
		"post /\r\n",
		"GET / HTTP/1.1\r\nhOsT: localhost:7379\r\n\r\nFLUSHALL\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01",
	} {
		got := transcript(strings.NewReader(in), true, Limits{})
		if strings.Contains(got, "FLUSHALL") || !strings.HasSuffix(got, errForeignProtocol.Error()+"\n") {
			t.Errorf("%q gives %q", in, got)
		}
	}
}

// A stream that ends within a command is told from one that ends between.
func TestReaderEndOfStream(t *testing.T) {
	for in, want := range map[string]error{"": io.EOF, "PING\r\n": io.EOF, "*0\r\n": io.EOF, "PIN": io.ErrUnexpectedEOF, "*1\r\n$4\r\nPI": io.ErrUnexpectedEOF} {
		r := NewReader(strings.NewReader(in), Limits{})
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, want) {
			t.Errorf("%q ends with %v, want %v", in, err, want)
		}
	}
}

// A failed read loses nothing: the next call goes on within the command.
func TestReaderGoesOnAfterTimeout(t *testing.T) {
	src := iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("*1\r\n$4\r\nPING\r\n")))
	r := NewReader(src, Limits{})
	if _, err := r.Next(); !errors.Is(err, iotest.ErrTimeout) {
		t.Fatalf("got %v", err)
	}
	commands, err := r.Next()
	if err != nil || len(commands) != 1 || string(commands[0].Name()) != "PING" {
		t.Fatalf("after the timeout: %q, %v", commands, err)
	}
}

// streams draws text that is nearly RESP.
func streams() *rapid.Generator[[]byte] {
	bulk := rapid.Custom(func(t *rapid.T) string {
		b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")
		return fmt.Sprintf("$%d\r\n%s\r\n", len(b), b)
	})
	array := rapid.Custom(func(t *rapid.T) string {
		args := rapid.SliceOfN(bulk, 0, 12).Draw(t, "args")
		return fmt.Sprintf("*%d\r\n%s", len(args), strings.Join(args, ""))
	})
	piece := rapid.OneOf(array, array, array,
		rapid.SampledFrom([]string{
			"PING\r\n", "SET \"a b\" 'c'\r\n", "\r\n", "*-1\r\n", "a \"b\r\n", "*2\r\n$1\r\na\r\n", "$1\r\n", "*1\r\n:", "*1\r\n$99\r\n",
			"POST /\r\n", "\x16", "*\r", "*9\r\n", "*1\r\n$1\r\nab\r\n", "\n", "\r",
		}),
		rapid.StringOfN(rapid.RuneFrom([]rune("*$\r\n01-:\"'\\x ab")), 0, 20, -1))
	return rapid.Map(rapid.SliceOfN(piece, 0, 8), func(p []string) []byte { return []byte(strings.Join(p, "")) })
}

// tight makes streams of a few dozen bytes reach every limit.
var tight = Limits{Args: 10, Bulk: 30, Inline: 24, Request: 120, PreAuthArgs: 4, PreAuthBulk: 20}

// The same bytes give the same commands and the same error, however they are cut.
func TestReaderSegmentation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := streams().Draw(t, "stream")
		authenticated := rapid.Bool().Draw(t, "authenticated")
		limits := rapid.SampledFrom([]Limits{{}, tight}).Draw(t, "limits")
		whole := transcript(bytes.NewReader(stream), authenticated, limits)
		if got := transcript(iotest.OneByteReader(bytes.NewReader(stream)), authenticated, limits); got != whole {
			t.Fatalf("byte by byte: %s\nat once: %s", got, whole)
		}
		src := &pieces{}
		for rest := stream; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			src.pieces = append(src.pieces, rest[:n])
			rest = rest[n:]
		}
		if got := transcript(src, authenticated, limits); got != whole {
			t.Fatalf("in pieces: %s\nat once: %s", got, whole)
		}
	})
}

// Commands written by the encoder of a client come out as they went in, also
// when they are larger than any buffer.
func TestReaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 200<<10)), 1, 6).Draw(t, "sizes")
		var stream []byte
		var want []string
		for i, size := range sizes {
			arg := bytes.Repeat([]byte{byte('a' + i)}, size)
			want = append(want, string(arg))
			stream = fmt.Appendf(stream, "*2\r\n$1\r\nx\r\n$%d\r\n%s\r\n", size, arg)
		}
		r := NewReader(iotest.HalfReader(bytes.NewReader(stream)), Limits{})
		r.SetAuthenticated(true)
		for len(want) > 0 {
			commands, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range commands {
				if len(c.Args) != 2 || string(c.Args[1]) != want[0] {
					t.Fatalf("got %.40q, want %.40q", c.Args, want[0])
				}
				want = want[1:]
			}
		}
	})
}

// All complete commands of a read come at once, up to the bound of a batch.
func TestReaderBatches(t *testing.T) {
	r := NewReader(strings.NewReader(strings.Repeat("a\n", readerMaxBatch+1)), Limits{})
	r.SetAuthenticated(true)
	first, err := r.Next()
	if err != nil || len(first) != readerMaxBatch {
		t.Fatalf("first batch: %d commands, %v", len(first), err)
	}
	if second, err := r.Next(); err != nil || len(second) != 1 {
		t.Fatalf("second batch: %d commands, %v", len(second), err)
	}
}
