// Package micro holds benchmarks of single operations, of this library and the
// other Go libraries, over a connection that costs next to nothing. They show
// what the libraries themselves spend; what a server spends is mostly system
// calls, which only wsbench shows.
//
//	go test -bench . -count 10 ./micro | benchstat -col /lib -
package micro
