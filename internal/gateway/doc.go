// Package gateway forwards connections that a liveness policy judges to a service
// behind this end, the upstream, of which there may be several.
//
// upstreams.go says which upstream is next, and is pure: it is told the time. relay.go
// moves the bytes of one connection. gateway.go holds the sockets and the clock.
package gateway
