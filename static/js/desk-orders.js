// The desk's pages about orders: times as the reader's own clock has them, picking, and one click that counts once.
const isUtc = new Date().getTimezoneOffset() === 0;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

for (const filters of document.querySelectorAll('.order-more')) {
  if (matchMedia('(width > 767px)').matches) filters.open = true;
}

for (const time of isUtc ? [] : document.querySelectorAll('time[data-local-time]')) {
  const own = document.createElement('span');
  own.className = 'quiet local-time';
  const at = new Date(time.dateTime);
  const words = (at.getDate() === at.getUTCDate() ? clock : calendar).format(at);
  own.textContent = ` (${words} your time)`;
  time.append(own);
}

for (const form of document.querySelectorAll('[data-pick-form]')) {
  const boxes = [...form.querySelectorAll('[data-pick]')];
  const all = form.querySelector('[data-pick-all]');
  const told = form.querySelector('[data-picked]');
  const buttons = form.querySelectorAll('button[formaction]');
  if (!all || !told) continue;
  const show = () => {
    const picked = boxes.filter((box) => box.checked).length;
    all.checked = picked > 0 && picked === boxes.length;
    all.indeterminate = picked > 0 && picked < boxes.length;
    told.textContent = picked ? `${picked} selected` : 'Select orders above';
    for (const button of buttons) button.disabled = picked === 0;
  };
  all.hidden = boxes.length === 0;
  all.addEventListener('change', () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  form.addEventListener('change', show);
  window.addEventListener('pageshow', show); // going back keeps what was ticked
  show();
}

for (const form of document.querySelectorAll('form[data-once]')) {
  form.addEventListener('submit', (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = '1';
  });
  window.addEventListener('pageshow', () => delete form.dataset.sent);
}
