package workload

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 demands it, and it guards nothing
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// What RFC 6455 says of a frame.
const (
	frameText  = 1
	frameClose = 8
	framePing  = 9
	framePong  = 10

	frameFinal = 0x80
	frameMask  = 0x80
)

const (
	// maxMessage bounds a message that is read.
	maxMessage = 4 << 20
	// socketCredit is how many events a member may send ahead.
	socketCredit = 500
	// handshakeTime bounds the way to a watch.
	handshakeTime = 5 * time.Second
)

// errClosed is the end of a socket that its server has closed.
var errClosed = errors.New("workload: the server has closed the socket")

// socket is a WebSocket connection of a client's own, in the protocol grid.v1: it
// shows every frame as the member has sent it.
type socket struct {
	conn net.Conn
	in   *bufio.Reader

	mu sync.Mutex // of writes
}

// socketFrame is a message of a member, as far as it matters here.
type socketFrame struct {
	T         string        `json:"t"`
	Resumed   bool          `json:"resumed"`
	Partition *int          `json:"partition"`
	Reason    string        `json:"reason"`
	Message   string        `json:"message"`
	Name      string        `json:"name"`
	Retryable bool          `json:"retryable"`
	Cursor    string        `json:"cursor"`
	Entries   []socketEvent `json:"entries"`
	Events    []socketEvent `json:"events"`
}

type socketEvent struct {
	Op        string       `json:"op"`
	Partition int          `json:"partition"`
	Seq       uint64       `json:"seq"`
	Previous  uint64       `json:"previous"`
	Key       string       `json:"key"`
	Value     watchedEntry `json:"value"`
}

// openSocket connects to a member's HTTP door and watches a space, from a cursor or
// from its content.
func openSocket(ctx context.Context, c *client, addr, space, from string) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	conn, err := c.place.Conn(ctx, c.id, addr)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, in: bufio.NewReader(conn)}
	if err := s.begin(ctx, addr, space, from); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

func (s *socket) begin(ctx context.Context, addr, space, from string) error {
	deadline, _ := ctx.Deadline()
	if err := s.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if err := s.handshake(ctx, addr); err != nil {
		return err
	}
	if from == "" {
		from = "snapshot"
	}
	return errors.Join(
		s.send(map[string]any{"t": "hello", "client": "chaos"}),
		s.send(map[string]any{"t": "watch", "id": 1, "space": space, "from": from, "credit": socketCredit, "batch_ms": 0}),
		s.conn.SetDeadline(time.Time{}))
}

// handshake makes a WebSocket of the connection.
func (s *socket) handshake(ctx context.Context, addr string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/ws", http.NoBody)
	if err != nil {
		return err
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // it never fails
	key := base64.StdEncoding.EncodeToString(nonce)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", key)
	r.Header.Set("Sec-WebSocket-Protocol", "grid.v1")
	if err := r.Write(s.conn); err != nil {
		return err
	}
	response, err := http.ReadResponse(s.in, r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see its import
	if response.StatusCode != http.StatusSwitchingProtocols ||
		response.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return fmt.Errorf("workload: the door did not open a socket: %s", response.Status)
	}
	return nil
}

// send sends a message.
func (s *socket) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(frameText, b)
}

// write sends one frame, masked as clients have to. Frames are small: what does not
// fit a 16 bit length is not sent by anybody here.
func (s *socket) write(code byte, b []byte) error {
	frame := []byte{frameFinal | code}
	if len(b) < 126 {
		frame = append(frame, frameMask|byte(len(b)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, frameMask|126), uint16(len(b)))
	}
	// A mask of zeros is a mask: it hides nothing, and nothing is hidden here.
	frame = append(append(frame, 0, 0, 0, 0), b...)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.conn.Write(frame)
	return err
}

// next returns the next message, answering pings on the way. It returns errClosed
// when the server ends the connection.
func (s *socket) next() (*socketFrame, error) {
	var message []byte
	for {
		final, code, b, err := s.read(maxMessage - len(message))
		if err != nil {
			return nil, err
		}
		switch code {
		case framePing:
			if err := s.write(framePong, b); err != nil {
				return nil, err
			}
			continue
		case framePong:
			continue
		case frameClose:
			return nil, errClosed
		}
		if message = append(message, b...); !final {
			continue
		}
		f := &socketFrame{}
		if err := json.Unmarshal(message, f); err != nil {
			return nil, fmt.Errorf("workload: message of the server: %w", err)
		}
		return f, nil
	}
}

// read reads one frame of at most so many bytes.
func (s *socket) read(most int) (final bool, code byte, b []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return false, 0, nil, err
	}
	n := uint64(head[1] &^ frameMask)
	if wide := map[uint64]int{126: 2, 127: 8}[n]; wide > 0 {
		var size [8]byte
		if _, err := io.ReadFull(s.in, size[8-wide:]); err != nil {
			return false, 0, nil, err
		}
		n = binary.BigEndian.Uint64(size[:])
	}
	if n > uint64(max(0, most)) {
		return false, 0, nil, fmt.Errorf("workload: a frame of %d bytes is too long", n)
	}
	b, err = readBytes(s.in, int(n))
	return head[0]&frameFinal != 0, head[0] & 15, b, err
}

// close ends the connection without a word, as a client that died.
func (s *socket) close() { _ = s.conn.Close() }
