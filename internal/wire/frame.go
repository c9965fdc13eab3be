package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// DefaultMaxFrame bounds kind, id and body of one frame, in bytes. A log
	// entry is at most a few hundred KiB and a value at most 1 MiB, so 16 MiB
	// leaves room for a batch and still bounds what one frame can make a
	// receiver hold.
	DefaultMaxFrame = 16 << 20

	// frameFixed is what a frame's length always counts: kind and id.
	frameFixed = 1 + 8
	// frameHeader is the length itself and the fixed part.
	frameHeader = 4 + frameFixed

	// firstChunk is the most that a body may allocate before any of its bytes
	// have been read; from there on the buffer doubles as bytes arrive.
	firstChunk = 64 << 10

	// readBuffer is the size of a connection's read buffer. Larger bodies are
	// read past it, straight into their own memory.
	readBuffer = 32 << 10
)

// Frame is one message on a connection: `len u32 | kind u8 | id u64 | body`,
// big-endian, where len counts kind, id and body.
type Frame struct {
	Kind uint8
	ID   uint64
	// Body belongs to whoever received the Frame. It is never reused by the
	// reader, so what is parsed from it may alias it for ever.
	Body []byte
}

// Body appends the body of a frame to dst and returns the longer slice. It may
// be called under a lock: it must not block.
type Body func(dst []byte) []byte

// Bytes is the Body that consists of b. b is copied before the send returns.
func Bytes(b []byte) Body {
	return func(dst []byte) []byte { return append(dst, b...) }
}

// AppendFrame appends one frame to dst.
func AppendFrame(dst []byte, kind uint8, id uint64, body Body) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, kind)
	dst = binary.BigEndian.AppendUint64(dst, id)
	if body != nil {
		dst = body(dst)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// FrameReader reads frames from a stream. It is for one goroutine.
type FrameReader struct {
	r   *bufio.Reader
	max int
}

// NewFrameReader returns a FrameReader over r that refuses frames above max
// bytes (0 means DefaultMaxFrame).
func NewFrameReader(r io.Reader, max int) *FrameReader {
	if max == 0 {
		max = DefaultMaxFrame
	}
	return &FrameReader{r: bufio.NewReaderSize(r, readBuffer), max: max}
}

// Next blocks for the next frame. It returns io.EOF only between frames,
// io.ErrUnexpectedEOF inside one, ErrFrameTooLarge or ErrProtocol for a length
// that cannot be.
func (fr *FrameReader) Next() (Frame, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(fr.r, header[:]); err != nil {
		return Frame{}, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n < frameFixed {
		return Frame{}, fmt.Errorf("%w: frame of %d bytes", ErrProtocol, n)
	}
	if uint64(n) > uint64(fr.max) {
		return Frame{}, fmt.Errorf("%w: %d bytes announced, limit %d", ErrFrameTooLarge, n, fr.max)
	}
	body, err := fr.body(int(n) - frameFixed)
	if err != nil {
		return Frame{}, err
	}
	return Frame{Kind: header[4], ID: binary.BigEndian.Uint64(header[5:]), Body: body}, nil
}

// Stream returns the bytes that follow the frames read so far, for protocols
// that switch from frames to a plain stream.
func (fr *FrameReader) Stream() io.Reader { return fr.r }

// body reads n bytes into memory of its own. Memory follows the bytes that
// have arrived, so a length without its bytes costs the sender a connection
// and us one small chunk.
func (fr *FrameReader) body(n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	buf := make([]byte, min(n, firstChunk))
	read := 0
	for {
		m, err := io.ReadFull(fr.r, buf[read:])
		read += m
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if read == n {
			return buf, nil
		}
		grown := make([]byte, min(n, 2*len(buf)))
		copy(grown, buf)
		buf = grown
	}
}
