'use strict';
// Starts the program that the server has compiled.
const go = new Go();
WebAssembly.instantiateStreaming(fetch('client.wasm'), go.importObject)
  .then((result) => go.run(result.instance))
  .catch((error) => {
    const status = document.getElementById('status');
    status.textContent = `The program did not start: ${error.message}`;
    status.dataset.state = 'lost';
  });
