// Package transporttest tells whether a transport keeps the promises of
// package transport, and holds one that needs no network.
//
// [Run] is the conformance suite. It is for transports outside this module
// too: hand it a [Config] that makes a server and a client and says what the
// transport can carry.
//
//	func TestTransport(t *testing.T) {
//		transporttest.Run(t, transporttest.Config{
//			New: func(t *testing.T) (server, client transport.Transport, addr string) {
//				return &mine.Transport{}, &mine.Transport{}, "127.0.0.1:0"
//			},
//			Resets: true,
//		})
//	}
//
// [Memory] is a transport within the process for tests of what stands on
// transports. It multiplexes, obeys deadlines to the nanosecond inside a
// testing/synctest bubble, and lets a test [Cut] a session's link, so that
// neither end hears of the other again.
package transporttest
