package settings

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Defaults of an address.
const (
	DefaultHost = "127.0.0.1"
	DefaultPort = "7373"
)

// Address completes a host, or a host and port, to "host:port". The error begins with text, so
// that the caller can put the flag's name before it.
func Address(text string) (string, error) {
	host, port := split(text)
	if text == "" || strings.ContainsAny(host, " /[]") {
		return "", fmt.Errorf("%q: want HOST:PORT, such as %s:%s", text, DefaultHost, DefaultPort)
	}
	if _, err := strconv.Atoi(text); err == nil {
		return "", fmt.Errorf("%q: want HOST:PORT; a port alone is written :%s", text, text)
	}
	if strings.Contains(host, ":") && net.ParseIP(strings.SplitN(host, "%", 2)[0]) == nil {
		return "", fmt.Errorf("%q: want HOST:PORT; an IPv6 address goes in brackets, [::1]:%s", text, DefaultPort)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil && strconv.FormatUint(n, 10) == port {
		return net.JoinHostPort(host, port), nil
	}
	n, err := net.LookupPort("ip", port) // the name of a service
	if err != nil || port == "" || strings.Trim(port, "+-0123456789") == "" {
		return "", fmt.Errorf("%q: the port must be a number from 0 to 65535, or the name of a service", text)
	}
	port = strconv.Itoa(n)
	return net.JoinHostPort(host, port), nil
}

// split splits an address. If it has no port, all of it is the host.
func split(text string) (host, port string) {
	if host, port, err := net.SplitHostPort(text); err == nil {
		return host, port
	}
	return strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), DefaultPort
}
