package resp_test

import (
	"bufio"
	"context"
	"fmt"
	"net"

	"github.com/spacegrid/spacegrid/gateway/resp"
)

// echo answers PING and ECHO, and refuses the rest as Redis does.
type echo struct{ table *resp.Table }

func (e echo) Serve(_ context.Context, s *resp.Session, commands []resp.Command) {
	for _, c := range commands {
		spec, refusal := e.table.Resolve(c)
		switch {
		case spec == nil:
			s.Out.Error(refusal)
		case spec.Name == "ping":
			s.Out.Status("PONG")
		case spec.Name == "echo":
			s.Out.Bulk(c.Args[1])
		default:
			s.Out.Error("ERR not in this example")
		}
	}
}

func (echo) Closed(*resp.Session) {}

// A server with two commands, and a client that sends four in one packet.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := resp.New(resp.Config{Handler: echo{resp.NewTable()}})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(client, "PING\r\nECHO hello\r\nECHO\r\nSHOUT hello\r\n")
	replies := bufio.NewScanner(client)
	for range 5 {
		replies.Scan()
		fmt.Printf("%q\n", replies.Text())
	}
	client.Close()
	fmt.Println(server.Close(), <-served)
	// Output:
	// "+PONG"
	// "$5"
	// "hello"
	// "-ERR wrong number of arguments for 'echo' command"
	// "-ERR unknown command 'SHOUT', with args beginning with: 'hello' "
	// <nil> <nil>
}
