-- How single links do is looked at on every page that lists them.

CREATE INDEX sample_link ON sample (link, minute) WHERE link > 0;
