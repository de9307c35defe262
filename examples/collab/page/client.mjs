import { compose, transform } from './ot.mjs';

// A Client is the part of the algorithm that runs in the page, without the page: it knows what the server has, what
// is on its way there, and what was edited since.
export class Client {
  revision = 0;       // the last that was received
  outstanding = null; // {seq, op}: sent, or to be sent again, and not confirmed
  buffer = null;      // the operation that does all edits after outstanding

  #seq = 0;
  #connected = false;
  #send;

  // send gets {seq, revision, op}. It is called only between resume and lost.
  constructor(id, send) {
    this.id = id;
    this.#send = send;
  }

  // reset takes over a text as it is on the server. What was not confirmed is gone.
  reset(revision) {
    this.revision = revision;
    this.outstanding = this.buffer = null;
  }

  get saved() { return !this.outstanding && !this.buffer; }

  // edit is called with what the user has done to the text.
  edit(op) {
    this.buffer = this.buffer ? compose(this.buffer, op) : op;
    this.#flush();
  }

  // receive takes a change that the server has accepted, and returns the operation to do to the text, or null.
  receive({ revision, client, seq, op }) {
    if (revision !== this.revision + 1) throw new Error(`revision ${revision} after ${this.revision}`);
    this.revision = revision;
    if (client === this.id && seq === this.outstanding?.seq) {
      this.outstanding = null; // the text has it already
      this.#flush();
      return null;
    }
    if (this.outstanding) [op, this.outstanding.op] = transform(op, this.outstanding.op);
    if (this.buffer) [op, this.buffer] = transform(op, this.buffer);
    return op;
  }

  lost() { this.#connected = false; }

  // resume is called when there is a connection, and all changes that the server had made by then were received. What
  // was outstanding and was not among them has not arrived there: it is sent again.
  resume() {
    this.#connected = true;
    if (this.outstanding) this.#send({ ...this.outstanding, revision: this.revision });
    else this.#flush();
  }

  #flush() {
    if (!this.#connected || this.outstanding || !this.buffer) return;
    this.outstanding = { seq: ++this.#seq, op: this.buffer };
    this.buffer = null;
    this.#send({ ...this.outstanding, revision: this.revision });
  }
}
