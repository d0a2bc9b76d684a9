// Package transporttest has a conformance suite for transports, and a transport in memory
// for tests.
//
// [Run] is the conformance suite, also for transports outside this module. Its [Config]
// makes a server and a client, and says which features the transport has.
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
// [Memory] is a multiplexed transport within the process. Inside a testing/synctest bubble
// its deadlines are exact to the nanosecond. [Cut] disconnects a session's link, so that
// neither end receives anything from the other again.
package transporttest
