// Package stack builds a transport from its name, and sets the limits of the
// layers beneath it such that they leave the judging to the policy above: what
// they can't do without (QUIC's idle timeout, the kernel's patience with a peer
// that acknowledges nothing) is a backstop, looser than the policy.
package stack
