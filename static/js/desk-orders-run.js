// Goes through what is left in steps, so that nobody has to press the button for each. Each step may be repeated.
// The page says where things are: `data-here` is this run's own address, `data-order` an order's, with ORDER for its id.
const RETRIES = 5;
const RETRY_MS = 2000;
const LISTED = 50;

function begin(run) {
  const find = (name) => run.querySelector(`[data-${name}]`);
  const form = find('rest');
  const step = Number(run.dataset.step);
  const total = Number(run.dataset.total);
  const verb = run.dataset.verb;
  let done = Number(run.dataset.done);
  let left = form.elements.orders.value.split(' ').filter(Boolean);
  const refused = find('refused-ids').value.split(' ').filter(Boolean);

  const show = (text) => {
    const over = total - left.length;
    find('bar').value = over;
    find('stand').textContent = text ?? `${over.toLocaleString()} of ${total.toLocaleString()} gone through.`;
    for (const [name, count] of Object.entries({ done, refused: refused.length, left: left.length })) {
      run.querySelector(`[data-count="${name}"]`).textContent = count.toLocaleString();
    }
    form.elements.orders.value = left.join(' ');
    find('refused-ids').value = refused.join(' ');
    find('refused').hidden = refused.length === 0;
  };

  const list = ({ id, why }) => {
    refused.push(id);
    const items = find('refused-list');
    if (items.children.length >= LISTED) return;
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.className = 'order-id';
    link.href = run.dataset.order.replace('ORDER', id);
    link.textContent = id;
    item.append(link, `: ${why}`);
    items.append(item);
  };

  const stop = (problem, link) => {
    window.onbeforeunload = null;
    find('problem').textContent = problem;
    if (link) {
      const way = document.createElement('a');
      way.href = run.dataset.here;
      way.textContent = link;
      find('problem').append(' ', way);
    }
    find('problem').hidden = false;
    find('go-on').hidden = Boolean(link);
    show(`Stopped: ${left.length.toLocaleString()} of ${total.toLocaleString()} left.`);
  };

  const counted = () => `${done.toLocaleString()} of ${total.toLocaleString()} are ${verb}`;

  // What was answered with no result, in words, and what to press. A redirect (0) leads to signing in.
  const signedOut = ['You were signed out.', 'Sign in again and go on'];
  const refusals = {
    0: signedOut,
    401: signedOut,
    403: ['You were signed out in the meantime, signed in anew, or may not do this any more.', 'Load this page again and go on'],
  };

  // The answer to one step; null when there is none, which may be asked for again.
  const send = async (ids) => {
    const body = new FormData(form);
    body.set('orders', ids.join(' '));
    try {
      const answer = await fetch(form.action, {
        method: 'POST', body, headers: { Accept: 'application/json' }, redirect: 'manual',
      });
      if (answer.ok) return { step: await answer.json() };
      if (answer.status in refusals) return { refusal: refusals[answer.status] };
      if (answer.status >= 500) return null;
      const { error } = await answer.json().catch(() => ({}));
      return { refusal: [error ?? `The shop refused this (${answer.status}).`, 'Load this page again'] };
    } catch {
      return null;
    }
  };

  const work = async () => {
    let failures = 0;
    window.onbeforeunload = (event) => event.preventDefault();
    find('go-on').hidden = true;
    find('problem').hidden = true;
    while (left.length) {
      const now = left.slice(0, step);
      const answer = await send(now);
      if (answer?.refusal) {
        const [why, link] = answer.refusal;
        return stop(`${why} ${counted()}; nothing is done twice.`, link);
      }
      if (answer) {
        const unknown = new Set(answer.step.left);
        done += answer.step.done;
        answer.step.refused.forEach(list);
        // What is unknown goes to the end: the others are not kept waiting.
        left = [...left.slice(now.length), ...now.filter((id) => unknown.has(id))];
        failures = unknown.size ? failures + 1 : 0;
      } else {
        failures += 1;
      }
      show();
      if (failures > RETRIES) {
        return stop(`There is no answer: the last step may have been done all the same. ${counted()}; going on is safe: nothing is done twice.`);
      }
      if (failures) await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
    }
    window.onbeforeunload = null;
    form.hidden = true;
    find('finished').hidden = false;
    show(`Finished: ${done.toLocaleString()} ${verb}${refused.length ? `, ${refused.length.toLocaleString()} refused` : ''}.`);
  };

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    work();
  });
  if (left.length && !('paused' in run.dataset)) work();
}

for (const run of document.querySelectorAll('[data-run]')) begin(run);
