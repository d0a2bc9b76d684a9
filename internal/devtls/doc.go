// Package devtls is TLS without homework: a certificate authority and a
// certificate for this machine, made once and kept in the user's data folder,
// where a client of the same user finds the authority.
//
// It is for development. The authority's key lies beside the certificates,
// readable by the user alone, so nobody but this user should ever trust it.
//
// The keys are made once and stay; a certificate is made anew for the same key
// when it is about to expire or the machine has another name. So a pin, which
// is of the key, stays valid too. Any number of processes may do so at once:
// a file appears whole or not at all, and of two that make a key the second
// takes the first one's.
package devtls
