import { $, connect, element, say } from './site.mjs';

let link = null; // while a user is signed in

function signedIn(user) {
  $('entry').hidden = true;
  $('inbox').hidden = $('sign-out').hidden = false;
  $('to').value ||= user; // a first try needs no second window
  link ??= connect('ws', {
    connected: `Signed in as ${user}`,
    idle: '',
    message(data) { receive(JSON.parse(data)); },
    // A page cannot see why a handshake is refused. It asks whether its user is still signed in.
    close: check,
    refused(e) {
      signedOut();
      say(`The server says: ${e.reason}.`);
    },
  });
}

function signedOut() {
  link?.close();
  link = null;
  $('inbox').hidden = $('sign-out').hidden = true;
  $('entry').hidden = false;
  $('to').value = '';
  $('unread').replaceChildren();
  showCount();
  $('name').focus();
}

async function check() {
  try {
    const { user } = await (await fetch('session')).json();
    if (user) signedIn(user); else signedOut();
  } catch {
    if (!link) say('The server cannot be reached. Load the page again when it is back.');
  }
}

function receive(event) {
  switch (event.type) {
    case 'hello':
      $('unread').replaceChildren();
      (event.unread ?? []).forEach(show);
      break;
    case 'notification':
      show(event.notification);
      break;
    case 'dismissed':
      $('unread').querySelector(`[data-id="${event.id}"]`)?.remove();
      break;
  }
  showCount();
}

function show({ id, from, text, at }) {
  const li = element('li');
  li.dataset.id = id;
  const what = element('div', 'what');
  const time = new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  what.append(element('p', 'text', text), element('p', 'about', `from ${from}, ${time}`));
  const button = element('button', 'quiet', 'Dismiss');
  button.type = 'button';
  button.setAttribute('aria-label', `Dismiss: ${text}`);
  button.addEventListener('click', () => link?.send(JSON.stringify({ dismiss: id })));
  li.append(what, button);
  $('unread').prepend(li);
}

function showCount() {
  const n = $('unread').childElementCount;
  $('unread-title').textContent = n === 0 ? 'Nothing new' : n === 1 ? '1 notification' : `${n} notifications`;
  document.title = n ? `(${n}) Notify` : 'Notify';
}

// post sends a form, and returns the answer, or throws an error for the user.
async function post(path, form) {
  let response;
  try {
    response = await fetch(path, { method: 'POST', body: new URLSearchParams(new FormData(form)) });
  } catch {
    throw new Error('The server cannot be reached.');
  }
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

$('sign-in').addEventListener('submit', async (e) => {
  e.preventDefault();
  try {
    const { user } = await post('session', e.target);
    $('refused').textContent = '';
    signedIn(user);
  } catch (error) {
    $('refused').textContent = error.message;
  }
});

$('send').addEventListener('submit', async (e) => {
  e.preventDefault();
  try {
    const to = $('to').value.trim();
    const { pages } = await post('notify', e.target);
    $('sent').textContent = pages ? `Sent to ${to}, who has ${pages === 1 ? 'one page' : `${pages} pages`} open.`
      : `${to} has no page open, and will see it later.`;
    $('text').value = '';
  } catch (error) {
    $('sent').textContent = error.message;
  }
});

$('sign-out').addEventListener('click', async () => {
  try {
    await fetch('session', { method: 'DELETE' }); // the server then ends the connections of all pages of this session
  } catch {
    say('The server cannot be reached.');
  }
});

check();
