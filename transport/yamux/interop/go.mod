module github.com/livenet/livenet/transport/yamux/interop

go 1.26.0

require (
	github.com/libp2p/go-yamux/v5 v5.1.0
	github.com/livenet/livenet v0.0.0
)

require (
	github.com/hashicorp/yamux v0.1.2 // indirect
	github.com/libp2p/go-buffer-pool v0.0.2 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/livenet/livenet => ../../..
