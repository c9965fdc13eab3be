package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/spacegrid/spacegrid/internal/wire"
)

// A snapshot has a connection of its own:
//
//	leader                               follower
//	request ────────────────────────────►  is it me? is there room?
//	        ◄──────────────────────────── accepted, or an error
//	Size plain bytes ───────────────────►  raft reads them as they come
//	        ◄──────────────────────────── alive, every so often
//	        ◄──────────────────────────── raft's answer, or an error
//
// Neither side sets a limit to the whole; each limits how long nothing happens.
// The follower says that it is alive because restoring the last byte's worth
// may take as long as all the rest.

// kindSnapshotAlive is sent by the follower: first to accept, then as a sign of
// life.
const kindSnapshotAlive uint8 = 0x10

// snapshotChunk is how much is sent at a time, in bytes.
const snapshotChunk = 64 << 10

// InstallSnapshot streams args.Size bytes from data to a follower and waits
// for its answer. It blocks for as long as there is progress.
func (g *GroupTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	nc, err := g.t.openSnapshot(g.ctx, target)
	if err != nil {
		return err
	}
	defer nc.Close()
	stop := context.AfterFunc(g.ctx, func() { nc.Close() })
	defer stop()

	stalled := &stallConn{Conn: nc, timeout: g.t.cfg.TransferStall}
	request := wire.AppendFrame(nil, kindInstallSnapshot, 1, func(dst []byte) []byte {
		return appendInstallSnapshot(appendAddress(dst, g.cfg.ID, id), args)
	})
	if _, err := stalled.Write(request); err != nil {
		return fmt.Errorf("replica: send snapshot request: %w", err)
	}
	frames := wire.NewFrameReader(stalled, g.t.cfg.MaxFrame)
	if _, err := awaitAnswer(frames, true); err != nil {
		return err
	}
	sent, err := io.CopyBuffer(struct{ io.Writer }{stalled}, io.LimitReader(data, args.Size), make([]byte, snapshotChunk))
	switch {
	case err != nil:
		return fmt.Errorf("replica: send snapshot after %d of %d bytes: %w", sent, args.Size, err)
	case sent < args.Size:
		return fmt.Errorf("replica: snapshot ends after %d of %d bytes", sent, args.Size)
	}
	body, err := awaitAnswer(frames, false)
	if err != nil {
		return err
	}
	return parseReply(body, parseInstallSnapshotResponse, resp)
}

// openSnapshot dials a member for one snapshot.
func (t *Transport) openSnapshot(ctx context.Context, member raft.ServerAddress) (net.Conn, error) {
	addr, err := t.cfg.Resolve(member)
	if err != nil {
		return nil, fmt.Errorf("%w: resolve %s: %w", wire.ErrUnreachable, member, err)
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.RPCTimeout)
	defer cancel()
	return wire.Open(ctx, t.cfg.Dial, addr, wire.PurposeSnapshot)
}

// awaitAnswer reads frames until the follower's answer, or only until the first
// sign of life.
func awaitAnswer(frames *wire.FrameReader, accepted bool) ([]byte, error) {
	for {
		f, err := frames.Next()
		if err != nil {
			return nil, fmt.Errorf("replica: await answer to snapshot: %w", err)
		}
		if f.Kind == kindSnapshotAlive {
			if accepted {
				return nil, nil
			}
			continue
		}
		body, err := f.Answer()
		return body, decodeError(err)
	}
}

// serveSnapshot receives one snapshot and gives it to raft.
func (t *Transport) serveSnapshot(nc net.Conn) {
	stalled := &stallConn{Conn: nc, timeout: t.cfg.TransferStall}
	frames := wire.NewFrameReader(stalled, t.cfg.MaxFrame)
	f, err := frames.Next()
	if err != nil {
		return
	}
	body, err := t.receiveSnapshot(f, frames, stalled)
	// The leader learns of a failed write from the connection's end.
	if err != nil {
		_, _ = stalled.Write(wire.ErrorFrame(f.ID, encodeError(err)))
		return
	}
	_, _ = stalled.Write(wire.ReplyFrame(f.ID, body))
}

// receiveSnapshot returns raft's encoded answer.
func (t *Transport) receiveSnapshot(f wire.Frame, frames *wire.FrameReader, w io.Writer) ([]byte, error) {
	p := wire.NewParser(f.Body)
	group, target := parseAddress(p)
	req := parseInstallSnapshot(p)
	if err := p.End(); err != nil || f.Kind != kindInstallSnapshot {
		return nil, fmt.Errorf("replica: snapshot request of kind %d: %w", f.Kind, errors.Join(err, wire.ErrProtocol))
	}
	g, err := t.addressed(group, target)
	if err != nil {
		return nil, err
	}
	alive := wire.AppendFrame(nil, kindSnapshotAlive, f.ID, nil)
	if _, err := w.Write(alive); err != nil {
		return nil, err
	}
	// A failed sign of life needs no answer: the transfer fails by itself.
	r := g.install(req, frames.Stream(), func() { _, _ = w.Write(alive) })
	if r.Error != nil {
		return nil, r.Error
	}
	return appendInstallSnapshotResponse(nil, r.Response.(*raft.InstallSnapshotResponse)), nil
}

// install queues a snapshot for raft and waits for the answer, calling alive
// every so often.
func (g *GroupTransport) install(req *raft.InstallSnapshotRequest, data io.Reader, alive func()) raft.RPCResponse {
	reader := &snapshotReader{data: io.LimitReader(data, req.Size), lastIndex: g.cfg.LastIndex}
	answer := make(chan raft.RPCResponse, 1)
	settled := make(chan struct{})
	defer close(settled)
	g.enqueue(&delivery{
		cmd: req, reader: reader, settled: settled,
		answers: make(chan raft.RPCResponse, 1),
		respond: func(r raft.RPCResponse) { answer <- r },
		by:      time.Now().Add(g.t.cfg.TransferStall),
	})
	tick := time.NewTicker(g.t.cfg.TransferStall / 4)
	defer tick.Stop()
	for {
		select {
		case r := <-answer:
			if resp, ok := r.Response.(*raft.InstallSnapshotResponse); ok && r.Error == nil && resp.Success {
				g.installed(reader.lastBefore.Load(), req.LastLogIndex)
			}
			return r
		case <-tick.C:
			alive()
		}
	}
}

// installed tells the owner, and halts the group if it has to be restarted.
func (g *GroupTransport) installed(lastBefore, snapIndex uint64) {
	if g.cfg.OnSnapshotInstalled == nil {
		return
	}
	if RestartAfterSnapshot(lastBefore, snapIndex) {
		g.halted.Store(true)
	}
	g.cfg.OnSnapshotInstalled(lastBefore, snapIndex)
}

// snapshotReader notes where raft's log ends at the first Read. That happens in
// raft's own goroutine, after every earlier request and before the snapshot
// changes anything, so the answer is exact.
type snapshotReader struct {
	data       io.Reader
	lastIndex  func() uint64 // nil once called
	lastBefore atomic.Uint64
}

func (r *snapshotReader) Read(p []byte) (int, error) {
	if r.lastIndex != nil {
		r.lastBefore.Store(r.lastIndex())
		r.lastIndex = nil
	}
	return r.data.Read(p)
}

// stallConn gives every read and write a deadline of its own.
type stallConn struct {
	net.Conn
	timeout time.Duration
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
