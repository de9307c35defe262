package websocket

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/seed70bc5565/websocket/internal/backoff"
)

// A Redialer is a client that stays connected: [Redialer.Run] dials, lets the
// application use the connection, and dials again when that ends.
//
// All fields except URL may be left out, and URL too if BeforeDial sets it. In
// the durations zero means the default. The fields must not be changed while
// Run is in progress. Run only reads them, and what they point to. So one
// Redialer serves any number of calls of Run.
type Redialer struct {
	// URL is the URL of the server, as for [Dial].
	URL string
	// Options are the options of each [Dial].
	Options *DialOptions

	// BeforeDial is called before each attempt, and may change a. It may set a
	// token that is still fresh, the offset to resume at, or another server.
	// Its error is judged in place of an error from Dial. DialTimeout bounds
	// ctx.
	BeforeDial func(ctx context.Context, a *RedialAttempt) error

	// IsPermanent judges what ended an attempt or a connection. If it returns
	// true, Run returns err and does not dial again. Default: [IsPermanent].
	// err is never nil.
	IsPermanent func(err error) bool

	// OnState is called with each change of state, by the goroutine of Run: it
	// must not block.
	OnState func(s RedialStatus)

	// BaseDelay and MaxDelay govern the wait before the next attempt. It is a
	// random time between zero and a ceiling. The ceiling is BaseDelay after
	// the first failure, and doubles with each that follows, up to MaxDelay.
	// Default: 500 ms and 30 s. Negative: no wait, and no limit.
	BaseDelay, MaxDelay time.Duration
	// StableAfter is how long a connection must have lasted for the failures
	// before it to be forgotten. A connection that ends earlier is a failure
	// like an attempt that failed. So clients do not storm a server that
	// accepts connections and then crashes. Default: 30 s; negative: all are
	// forgotten as soon as there is a connection.
	StableAfter time.Duration
	// MaxRetryAfter bounds how long a Retry-After header can make the Redialer
	// wait. A server that refuses says there how long to stay away (RFC 9110,
	// section 10.2.3). The random wait is added to it, so that clients that
	// were told the same time do not come together. Default: 5 min; negative:
	// no limit.
	MaxRetryAfter time.Duration
	// DialTimeout bounds each attempt, BeforeDial included. Default: 30 s;
	// negative: no limit.
	DialTimeout time.Duration

	random func() uint64 // tests set it; nil means crypto/rand
}

// The defaults of a Redialer.
const (
	defaultBaseDelay     = 500 * time.Millisecond
	defaultMaxDelay      = 30 * time.Second
	defaultStableAfter   = 30 * time.Second
	defaultMaxRetryAfter = 5 * time.Minute
	defaultDialTimeout   = 30 * time.Second
)

// A RedialAttempt is what [Redialer.BeforeDial] may change before an attempt.
// Changes hold for this attempt only.
type RedialAttempt struct {
	// URL is the Redialer's.
	URL string
	// Options are a copy of the Redialer's Options. HTTPHeader is a copy too,
	// and not nil.
	Options DialOptions
	// Failures is how many attempts and short connections have failed since the
	// last stable one (StableAfter).
	Failures int
	// LastErr is what ended the attempt or connection before: nil for the first
	// one.
	LastErr error
}

// A RedialState is what a call of [Redialer.Run] is doing.
type RedialState int

const (
	RedialDialing   RedialState = iota + 1 // BeforeDial is called next, and then Dial
	RedialConnected                        // serve is called next
	RedialWaiting                          // there is no connection, and the next attempt has to wait
	RedialStopped                          // Run is about to return
)

// String returns "dialing", "connected", "waiting" or "stopped", or
// RedialState(n) for a state that does not exist.
func (s RedialState) String() string {
	switch s {
	case RedialDialing:
		return "dialing"
	case RedialConnected:
		return "connected"
	case RedialWaiting:
		return "waiting"
	case RedialStopped:
		return "stopped"
	}
	return fmt.Sprintf("RedialState(%d)", int(s))
}

// A RedialStatus is what [Redialer.OnState] is told.
type RedialStatus struct {
	State RedialState
	// Failures is how many attempts and short connections have failed since the
	// last stable one (StableAfter).
	Failures int
	// Wait is the time until the next attempt, with RedialWaiting.
	Wait time.Duration
	// Err is what ended the last attempt or connection, with RedialWaiting, and
	// what Run returns, with RedialStopped.
	Err error
	// Response is the server's to the handshake, with RedialConnected. That of
	// a refusal is in Err: see [HandshakeError].
	Response *http.Response
}

// Run dials and calls serve with the connection, again and again, until
//
//   - ctx ends: the error matches ctx.Err(), whatever serve returned;
//   - serve returns nil while the connection is alive, or after it has closed
//     the connection itself: the application is done, and so is Run, which
//     returns nil;
//   - this side has closed the connection with [Conn.Close], on whatever
//     goroutine, and the peer has answered: Run returns nil, whatever serve
//     returns. To be connected again, let serve return an error without a
//     Close, or call [Conn.CloseNow]. The close of [Conn.CloseRead], when a
//     message comes, does not count: return an error then, such as that of the
//     context, to be connected again;
//   - IsPermanent finds an error final: Run returns it.
//
// Anything else is followed by a wait and another attempt: Dial's error, that
// of BeforeDial, and what ended the connection. That is the error of serve. If
// serve returned nil, or the error of its context, because the connection had
// ended, it is the reason why the connection had ended. So a range over
// [Conn.Messages] that the server's close has ended, and a return nil behind
// it, lead to the next connection.
//
// serve is called by the goroutine of Run, for one connection at a time. Its
// context is a child of ctx, and ends when the connection ends. It must return
// then; Run waits for it. Run closes a connection that serve leaves open, with
// StatusNormalClosure after nil and StatusGoingAway after an error.
//
// The end of ctx cuts short whatever is in progress: an attempt, a wait, or the
// connection, which is closed with StatusGoingAway. Then writes of serve fail.
// A peer that does not answer the close frame is waited for no longer than a
// second, at the end of ctx as elsewhere.
func (r *Redialer) Run(ctx context.Context, serve func(ctx context.Context, c *Conn) error) error {
	err := r.run(ctx, serve)
	r.tell(RedialStatus{State: RedialStopped, Err: err})
	return err
}

func (r *Redialer) run(ctx context.Context, serve func(ctx context.Context, c *Conn) error) error {
	switch {
	case ctx == nil:
		return errors.New("websocket: redial: the context is nil")
	case serve == nil:
		return errors.New("websocket: redial: serve is nil")
	}
	isPermanent := r.IsPermanent
	if isPermanent == nil {
		isPermanent = IsPermanent
	}
	retry := backoff.Backoff{Base: orDefault(r.BaseDelay, defaultBaseDelay), Max: orDefault(r.MaxDelay, defaultMaxDelay)}
	var last error
	for {
		if ctx.Err() != nil {
			return redialEnded(ctx, nil, last)
		}
		r.tell(RedialStatus{State: RedialDialing, Failures: retry.Failures})
		c, resp, err := r.dial(ctx, retry.Failures, last)
		if err == nil {
			since := time.Now()
			err = r.use(ctx, c, resp, retry.Failures, serve)
			if time.Since(since) >= orDefault(r.StableAfter, defaultStableAfter) {
				retry.Failures = 0
			}
		}
		switch {
		case ctx.Err() != nil:
			return redialEnded(ctx, err, last)
		case err == nil:
			return nil
		case isPermanent(err):
			return err
		}
		last = err
		wait := backoff.AddWaits(r.retryAfter(err), retry.Fail(r.randomUint64()))
		r.tell(RedialStatus{State: RedialWaiting, Failures: retry.Failures, Wait: wait, Err: err})
		sleep(ctx, wait)
	}
}

// dial makes one attempt.
func (r *Redialer) dial(ctx context.Context, failures int, last error) (*Conn, *http.Response, error) {
	if timeout := orDefault(r.DialTimeout, defaultDialTimeout); timeout > 0 {
		bound, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		ctx = bound
	}
	a := RedialAttempt{URL: r.URL, Failures: failures, LastErr: last}
	if r.Options != nil {
		a.Options = *r.Options
	}
	if r.BeforeDial != nil {
		if a.Options.HTTPHeader = a.Options.HTTPHeader.Clone(); a.Options.HTTPHeader == nil {
			a.Options.HTTPHeader = make(http.Header)
		}
		a.Options.Subprotocols = slices.Clone(a.Options.Subprotocols)
		if err := r.BeforeDial(ctx, &a); err != nil {
			return nil, nil, fmt.Errorf("websocket: redial: BeforeDial: %w", err)
		}
	}
	return Dial(ctx, a.URL, &a.Options)
}

// use lets serve use the connection and returns what ended it: nil if the
// application is done. The connection has ended then.
func (r *Redialer) use(ctx context.Context, c *Conn, resp *http.Response, failures int,
	serve func(ctx context.Context, c *Conn) error) error {
	defer c.CloseNow() // if serve panics
	live, cancel := context.WithCancel(ctx)
	defer cancel()
	c.onEnd(cancel)
	left := make(chan struct{})
	stay := context.AfterFunc(ctx, func() {
		defer close(left)
		defer contain(c, nil)
		leave(c, StatusGoingAway)
	})
	defer func() {
		if !stay() {
			<-left
		}
	}()

	r.tell(RedialStatus{State: RedialConnected, Failures: failures, Response: resp})
	err := serve(live, c)
	if isClose(c.life.reason()) { // a Close may be at work on another goroutine
		select {
		case <-c.life.closed():
		case <-ctx.Done():
		}
		if answered, _ := c.life.outcome(); answered {
			return nil
		}
	}
	if reason := c.life.reason(); reason != nil && !isClose(reason) && (err == nil || errors.Is(err, live.Err())) {
		err = reason
	}
	code := StatusNormalClosure
	if err != nil || ctx.Err() != nil {
		code = StatusGoingAway
	}
	leave(c, code)
	return err
}

// isClose reports whether reason, why a connection is over, is a call of Close
// or CloseNow by the application.
func isClose(reason error) bool {
	end, ok := reason.(*localEnd)
	return ok && end != closedForPanic && (end.cause == EndByClose || end.cause == EndByCloseNow)
}

// leave closes c, and waits for the peer's answer for lingerTimeout at most.
func leave(c *Conn, code StatusCode) {
	timer := time.AfterFunc(lingerTimeout, func() { c.CloseNow() })
	defer timer.Stop()
	_ = c.Close(code, "") // fails if the connection is over already, or the peer does not answer: all the same
}

// retryAfter returns how long the server that refused with err wants to be left
// alone, as far as that is heeded.
func (r *Redialer) retryAfter(err error) time.Duration {
	var he *HandshakeError
	if !errors.As(err, &he) {
		return 0
	}
	wait := backoff.ParseRetryAfter(he.Header, time.Now())
	if most := orDefault(r.MaxRetryAfter, defaultMaxRetryAfter); most > 0 {
		wait = min(wait, most)
	}
	return wait
}

func (r *Redialer) randomUint64() uint64 {
	if r.random != nil {
		return r.random()
	}
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}

func (r *Redialer) tell(s RedialStatus) {
	if r.OnState != nil {
		r.OnState(s)
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// redialEnded is the error of a Run whose context has ended. Its text has the
// last failure, which it does not match. That is err, what ended the work in
// progress, unless it is just the end of the context. Else it is last, the
// failure before.
func redialEnded(ctx context.Context, err, last error) error {
	ended := ctx.Err()
	if err == nil || errors.Is(err, ended) {
		err = last
	}
	if err == nil {
		return fmt.Errorf("websocket: redial: %w", ended)
	}
	return fmt.Errorf("websocket: redial: %w (before that: %v)", ended, err)
}

// IsPermanent reports whether a [Redialer] must give up after err. It is the
// default of the Redialer's field of the same name. It reports true if
//
//   - the server refused the handshake with status 400, 401, 403, 404 or 407
//     (see [HandshakeError]);
//   - the peer closed the connection with code 1002, 1003, 1007, 1008 or 1010
//     (see [CloseError]);
//   - TLS refused a certificate: this side that of the server (unknown
//     authority, wrong host name, out of its time), or the server that of this
//     side (missing, unknown, out of its time);
//   - the server has no certificate for the host name, or the two sides have no
//     version of TLS or no protocol above it in common;
//   - the server does not speak TLS, but the URL is wss
//     ([http.ErrSchemeMismatch]);
//   - Dial found its URL or its options to be invalid.
//
// Dialing again would fail in the same way. For all other errors it reports
// false, including those that it does not know.
func IsPermanent(err error) bool {
	var he *HandshakeError
	if errors.As(err, &he) {
		switch he.StatusCode {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
			return true
		}
	}
	switch CloseStatus(err) {
	case StatusProtocolError, StatusUnsupportedData, StatusInvalidFramePayloadData, StatusPolicyViolation,
		StatusMandatoryExtension:
		return true
	}
	var ae argumentError
	return errors.As(err, &ae) || errors.Is(err, http.ErrSchemeMismatch) || isTLSRefusal(err)
}

// isTLSRefusal reports whether the two sides cannot have TLS with each other.
// Then a certificate of one is not good for the other, or one does not speak
// TLS.
func isTLSRefusal(err error) bool {
	var verify *tls.CertificateVerificationError
	var ( // where the program verifies by itself
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	if errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid) {
		return true
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil { // the first record: later ones may be broken on the way
		return true
	}
	for op := (*net.OpError)(nil); errors.As(err, &op); err = op.Err { // one of a proxy may be around
		if op.Op == "remote error" && slices.Contains(finalAlerts, op.Err.Error()) { // crypto/tls does not export its alerts
			return true
		}
	}
	return false
}

// finalAlerts are the texts of the alerts with which a server refuses a client
// that may come back as it will (RFC 8446, section 6.2).
var finalAlerts = func() (texts []string) {
	for _, alert := range []tls.AlertError{
		40,  // handshake_failure: TLS 1.2 says so where a certificate is missing
		42,  // bad_certificate
		43,  // unsupported_certificate
		44,  // certificate_revoked
		45,  // certificate_expired
		46,  // certificate_unknown
		48,  // unknown_ca
		49,  // access_denied
		70,  // protocol_version
		112, // unrecognized_name: there is no certificate for the host
		116, // certificate_required
		120, // no_application_protocol: the server speaks no HTTP
	} {
		texts = append(texts, alert.Error())
	}
	return texts
}()
