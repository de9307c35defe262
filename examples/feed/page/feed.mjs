import { $, connect, element } from './site.mjs';

const longestLog = 100; // updates

let position = ''; // of the last update that this page has: it asks for what is behind it
let matches = [];
let replayed = 0;  // how many of the next updates are not new
let badge = '';    // what they are called
let lostAt = 0;

const link = connect('ws', {
  query: () => (position ? { after: position } : {}),
  message(data) {
    const m = JSON.parse(data);
    if (m.type === 'start') start(m);
    else update(m);
  },
  close() { lostAt ||= Date.now(); },
});

function start(m) {
  replayed = m.replayed;
  badge = m.resumed ? 'replayed' : 'earlier'; // earlier: from before this page began, so it has not missed them
  const away = lostAt ? `after ${Math.round((Date.now() - lostAt) / 1000)} s` : '';
  if (m.resumed) {
    const updates = m.replayed === 1 ? '1 update' : `${m.replayed || 'no'} updates`;
    tell('resumed', `Back ${away}: ${updates} missed, and replayed.`);
  } else {
    if (lostAt) tell('afresh', `Back ${away}: the server no longer has what you missed. These are the scores now.`);
    matches = m.state;
    $('updates').replaceChildren();
    showMatches();
  }
  lostAt = 0;
}

function update({ position: at, update: u }) {
  position = at;
  matches[u.index] = u.match;
  showMatches(u.goal ? u.index : -1);
  const li = element('li', u.goal ? 'goal' : '');
  li.dataset.position = at;
  li.append(element('span', 'minute', `${u.match.minute}′`), element('span', 'text', u.text));
  if (replayed > 0) {
    replayed--;
    li.append(element('span', `badge ${badge}`, badge));
  }
  $('updates').prepend(li);
  while ($('updates').childElementCount > longestLog) $('updates').lastElementChild.remove();
}

function tell(kind, text) {
  $('resume').dataset.kind = kind;
  $('resume').textContent = text;
}

// showMatches keeps the rows and changes what is in them, so that the focus stays where it is.
function showMatches(changed = -1) {
  while ($('matches').rows.length < matches.length) $('matches').append(row($('matches').rows.length));
  for (const [i, m] of matches.entries()) {
    const tr = $('matches').rows[i];
    tr.classList.toggle('changed', i === changed);
    const cells = { minute: `${m.minute}′`, home: m.home, score: `${m.homeGoals} : ${m.awayGoals}`, away: m.away };
    for (const [name, text] of Object.entries(cells)) {
      const cell = tr.querySelector(`.${name}`);
      (cell.firstElementChild ?? cell).textContent = text;
    }
  }
}

function row(index) {
  const tr = element('tr');
  for (const name of ['minute', 'home', 'score', 'away']) {
    const td = element('td', name);
    if (name === 'home' || name === 'away') {
      const button = element('button');
      button.type = 'button';
      button.title = 'A goal for this team';
      button.addEventListener('click', () => link.send(JSON.stringify({ goal: name, in: index })));
      td.append(button);
    }
    tr.append(td);
  }
  return tr;
}

$('lose').addEventListener('click', () => {
  const lose = $('status').dataset.state !== 'idle';
  $('lose').textContent = lose ? 'Come back' : 'Disconnect';
  if (!lose) {
    link.retry();
    return;
  }
  link.close();
  lostAt = Date.now();
});
