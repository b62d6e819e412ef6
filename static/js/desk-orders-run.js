// Goes through what is left in steps, so that nobody has to press the button for each. Each step may be repeated.
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
  const refused = form.elements.refused.value.split(' ').filter(Boolean);

  const show = (text) => {
    const over = total - left.length;
    find('bar').value = over;
    find('stand').textContent = text ?? `${over.toLocaleString()} of ${total.toLocaleString()} gone through.`;
    for (const [name, count] of Object.entries({ done, refused: refused.length, left: left.length })) {
      run.querySelector(`[data-count="${name}"]`).textContent = count.toLocaleString();
    }
    form.elements.orders.value = left.join(' ');
    form.elements.refused.value = refused.join(' ');
    form.elements.done.value = done;
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
    link.href = `/admin/desk/orders/${id}/`;
    link.textContent = id;
    item.append(link, `: ${why}`);
    items.append(item);
  };

  const stop = (problem) => {
    window.onbeforeunload = null;
    find('problem').textContent = problem;
    find('problem').hidden = false;
    find('go-on').hidden = false;
    show(`Stopped: ${left.length.toLocaleString()} of ${total.toLocaleString()} left.`);
  };

  const send = async (ids) => {
    const body = new FormData(form);
    body.set('orders', ids.join(' '));
    body.delete('refused');
    const answer = await fetch(form.action || location.href, {
      method: 'POST', body, headers: { Accept: 'application/json' }, redirect: 'error',
    });
    if (answer.status === 403) throw new Error('refused');
    if (!answer.ok) throw new Error('away');
    return answer.json();
  };

  const work = async () => {
    let failures = 0;
    window.onbeforeunload = (event) => event.preventDefault();
    find('go-on').hidden = true;
    find('problem').hidden = true;
    while (left.length) {
      const now = left.slice(0, step);
      try {
        const answer = await send(now);
        const unknown = new Set(answer.left);
        done += answer.done;
        answer.refused.forEach(list);
        // What is unknown goes to the end: the others are not kept waiting.
        left = [...left.slice(now.length), ...now.filter((id) => unknown.has(id))];
        failures = unknown.size ? failures + 1 : 0;
      } catch (error) {
        if (error.message === 'refused') {
          return stop('You may not do this any more: you were signed out, or your role was changed. Sign in again, then do the same search.');
        }
        failures += 1;
      }
      show();
      if (failures > RETRIES) {
        return stop('There is no answer. The last step may have been done all the same; going on is safe: nothing is done twice.');
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
  if (left.length) work();
}

for (const run of document.querySelectorAll('[data-run]')) begin(run);
